"""Files that are damaged, or made to do harm: a line of the report, or an error of ours."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inside import SOURCES, values_of
from langchain_kronvex import InvalidInput, KronvexMemory
from langchain_kronvex.importers import import_from

from .files import conversation, message, sqlite_store, written

GOOD = {"id": "1", "memory": "Ana likes tea.", "user_id": "ana"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


class Trickle(io.BytesIO):
    """A stream that hands out one byte at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1)


@given(values=st.lists(JSON, max_size=4), gaps=st.text(" \n\t\r", max_size=3))
def test_values_are_read_in_parts_as_they_are_whole(values: list[Any], gaps: str) -> None:
    dumped = [json.dumps(value, ensure_ascii=bool(gaps)) for value in values]
    text = f"{gaps}[{f'{gaps},'.join(dumped)}{gaps}]{gaps}".encode("utf-8", "backslashreplace")
    if dumped and not isinstance(values[0], list):
        lines = "\n".join(dumped).encode("utf-8", "backslashreplace")
        assert [value for _, value in values_of(Trickle(lines))] == values
    assert [value for _, value in values_of(Trickle(text))] == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"memory": "a"} {"memory": "b"}]', "line 1: it is not JSON"),
        ('[{"memory": "Ana likes tea."},\n{"memory": "cut o', "line 2: it is not JSON"),
        ('{"memory": Ana}', "line 1: it is not JSON"),
        ('[{"memory": "Ana likes tea."}] more', "line 1: it is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"memory": ' * 100_000, "nested too deeply"),
        (f'{{"id": {"1" * 5000}}}', "too many digits"),
        ("[\udcff]", "not UTF-8"),
    ],
    ids=["comma", "cut", "literal", "after", "lists", "objects", "number", "bytes"],
)
def test_what_is_not_json(memory: KronvexMemory, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput, match=told) as caught:
        import_from(memory, "mem0", file)
    assert "tea" not in str(caught.value)


def test_what_stands_before_the_damage_is_stored(memory: KronvexMemory, tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{{oops\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"line 2: .* The 1 records before it are in"):
        import_from(memory, "mem0", file)
    assert len(memory.memories(user_id="ana")) == 1


@pytest.mark.parametrize("source", ["mem0", "zep", "kronvex", "chatgpt"])
@pytest.mark.parametrize(
    "value",
    [None, 1, "Ana likes tea.", {}, {"results": 1}, {"messages": [None, 1, {}]}, {"mapping": []},
     {"memories": [[]]}, {"threads": [{"threads": [{"threads": [{"threads": [1]}]}]}]},
     {"id": "c", "mapping": {"a": 1}, "current_node": "a"}],
    ids=[*"0123456789"],
)  # fmt: skip
def test_values_of_wrong_types_are_reported(source: str, value: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "file.json", [value])
    report = import_from(None, source, file, user_id="ana", dry_run=True)
    assert (report.memories, report.messages) == (0, 0)
    assert report.left_out >= 1 or value == {"results": 1}
    assert "tea" not in repr(report)


def test_conversations_that_are_no_trees(memory: KronvexMemory, tmp_path: Path) -> None:
    circle = conversation("c1", message("a", "b", "user", "A"), message("b", "a", "user", "B"))
    lost = conversation("c2", message("a", "gone", "user", "A"))
    deep: list[dict[str, Any]] = [message("0", "root", "user", "0")]
    deep += [message(str(n), str(n - 1), "user", str(n)) for n in range(1, 3000)]
    headless = {**conversation("c4", *deep[:1]), "current_node": None}
    file = written(tmp_path / "c.json", [circle, lost, conversation("c3", *deep), headless])
    report = import_from(memory, "chatgpt", file, user_id="ana")

    assert report.reasons == {
        "its messages follow each other in a circle.": 1,
        "a message that others follow is not there.": 1,
        "it has no current_node.": 1,
    }
    assert report.messages == 3000


def test_repeated_ids_and_many_reasons(memory: KronvexMemory, tmp_path: Path) -> None:
    twice = [GOOD, {**GOOD, "memory": "Ana likes figs."}]
    odd = [{**GOOD, "user_id": "u" * (300 + n)} for n in range(80)]
    report = import_from(memory, "mem0", written(tmp_path / "m.json", [*twice, *odd]))

    assert [each.content for each in memory.memories(user_id="ana")] == ["Ana likes tea."]
    assert report.first[0].where == "[1]"
    assert (report.left_out, len(report.first), len(report.reasons)) == (81, 20, 51)
    assert report.reasons["other reasons"] == 31


def test_items_that_no_store_has_written(memory: KronvexMemory, tmp_path: Path) -> None:
    good = '{"text": "fine"}'
    rows: list[tuple[Any, ...]] = [
        ("a", "1", good, None, None, None, None),
        ("a..b", "2", good, None, None, None, None),
        ("a", "3", "{oops", None, None, None, None),
        ("a", "4", "[" * 50_000, None, None, None, None),
        ("a", "5", '["a list"]', None, None, None, None),
        ("a", "6", good, "yesterday", None, None, None),
        ("a", "7", good, None, None, None, "soon"),
        ("a", b"\xff", good, None, None, None, None),
        (b"\xff", "9", good, None, None, None, None),
        ("a", "", good, None, None, None, None),
        ("a", "11", '{"text": "\\ud800"}', None, None, None, None),
        ("a", "12", '{"a":' * 90 + "1" + "}" * 90, None, None, None, None),
    ]
    report = import_from(memory, "langgraph", sqlite_store(tmp_path / "lg.db", rows))

    assert (report.items, report.left_out) == (2, 10)  # the first, and the one with a surrogate


@pytest.mark.parametrize("content", [b"not a database, but text", b"", None])
def test_files_that_are_no_stores(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "file.db"
    if content is None:
        sqlite3.connect(file).execute("CREATE TABLE store (x)").connection.close()
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(InvalidInput, match="store"):
        import_from(None, "langgraph", file, dry_run=True)
    assert file.read_bytes() == before


def test_zips_without_conversations(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("user.json", "{}")
    with pytest.raises(InvalidInput, match="no conversations"):
        import_from(None, "chatgpt", tmp_path / "a.zip", user_id="ana", dry_run=True)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(["x" * 5000]))
    damaged = bytearray((tmp_path / "b.zip").read_bytes())
    damaged[50:60] = b"\xff" * 10
    (tmp_path / "b.zip").write_bytes(damaged)
    with pytest.raises(InvalidInput, match="damaged"):
        import_from(None, "chatgpt", tmp_path / "b.zip", user_id="ana", dry_run=True)


def test_calls_that_make_no_sense(memory: KronvexMemory, tmp_path: Path) -> None:
    file = written(tmp_path / "m.json", [GOOD])
    with pytest.raises(InvalidInput, match="source must be one of mem0, langgraph"):
        import_from(memory, "elsewhere", file)
    with pytest.raises(InvalidInput):
        import_from(None, "mem0", file)
    with pytest.raises(InvalidInput, match="no option 'user'"):
        import_from(memory, "mem0", file, user="ana")  # type: ignore[call-arg]
    for source in SOURCES:
        user = None if source == "langgraph" else "ana"
        with pytest.raises(InvalidInput, match="No such file"):
            import_from(memory, source, tmp_path / "nowhere", user_id=user)
        if source != "langgraph":  # which SQLite itself opens
            with pytest.raises(InvalidInput, match="is a store"):
                import_from(memory, source, tmp_path / "memory.db", user_id=user)
        with pytest.raises(InvalidInput):
            import_from(memory, source, "a\0b", user_id=user)
    memory.export(tmp_path / "ours.jsonl")
    with pytest.raises(InvalidInput, match="without --from"):
        import_from(memory, "kronvex", tmp_path / "ours.jsonl")
