"""Pages end, in both ways of counting; filters and orders work."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

TEXTS = [f"note {n:02} {'50%_off' if n % 5 == 0 else 'plain'}" for n in range(23)]


@pytest.fixture(scope="module")
def notes(server: Any) -> Iterator[tuple[httpx.Client, str]]:
    from .running import client

    with client(server.base_url) as api:
        made = api.post("/agents", json={"name": "notes"}).json()["id"]
        memories = [
            {
                "content": text,
                "session_id": "ana" if n % 2 else "ben",
                "memory_type": "semantic" if n % 3 else "fact",
                "created_at": f"2026-01-{n + 1:02}T00:00:00Z",
            }
            for n, text in enumerate(TEXTS)
        ]
        path = f"/agents/{made}/memories"
        api.post(f"{path}/bulk-import", json={"memories": memories}).raise_for_status()
        yield api, path


def contents(answer: dict[str, Any]) -> list[str]:
    return [memory["content"] for memory in answer["memories"]]


@pytest.mark.parametrize("size", [1, 7, 23, 100])
def test_pages_by_number_end(notes: tuple[httpx.Client, str], size: int) -> None:
    api, path = notes
    seen: list[str] = []
    for page in range(1, math.ceil(len(TEXTS) / size) + 2):
        answer = api.get(path, params={"page": page, "per_page": size}).json()
        assert (answer["total"], answer["page"], answer["per_page"]) == (23, page, size)
        assert answer["pages"] == math.ceil(23 / size)
        seen += contents(answer)
    assert answer["memories"] == []
    assert not answer["has_more"]
    assert seen == TEXTS[::-1]


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_pages_by_offset_end(notes: tuple[httpx.Client, str], size: int) -> None:
    api, path = notes
    seen: list[str] = []
    while True:
        params = {"limit": size, "offset": len(seen), "page": 9, "per_page": 3}
        answer = api.get(path, params=params).json()
        assert (answer["limit"], answer["offset"]) == (size, len(seen))
        seen += contents(answer)
        if not answer["has_more"]:
            break
    assert seen == TEXTS[::-1]


@pytest.mark.parametrize(
    ("params", "start", "size"),
    [
        ({"page": 2, "limit": 10}, 10, 10),
        ({"page": 3, "limit": 10}, 20, 10),
        ({"page": 2, "limit": 5, "per_page": 10}, 5, 5),
        ({"page": 2, "per_page": 10, "offset": 3}, 3, 10),
        ({"page": 2}, 20, 20),
        ({"page": 3, "limit": 4, "offset": 8}, 8, 4),
        ({"page": 3, "offset": 4}, 4, 20),
        ({"limit": 4}, 0, 4),
        ({"offset": 4}, 4, 20),
        ({"per_page": 4, "limit": 3, "offset": 0}, 0, 3),
        ({"page": 4, "limit": 10}, 30, 10),
    ],
)
def test_every_way_to_name_a_page(
    notes: tuple[httpx.Client, str], params: dict[str, int], start: int, size: int
) -> None:
    api, path = notes
    answer = api.get(path, params=params).json()
    assert contents(answer) == TEXTS[::-1][start : start + size]
    assert (answer["offset"], answer["limit"], answer["per_page"]) == (start, size, size)
    assert answer["has_more"] == (start + size < 23)
    assert answer["page"] == start // size + 1


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"session_id": "ana"}, TEXTS[1::2]),
        ({"user_id": "ana"}, TEXTS[1::2]),
        ({"session_id": "Ana"}, []),
        ({"memory_type": "fact"}, TEXTS[::3]),
        ({"type": "fact", "session_id": "ben"}, TEXTS[::6]),
        ({"memory_type": "no such"}, []),
        ({"search": "50%_OFF"}, TEXTS[::5]),
        ({"q": "%"}, TEXTS[::5]),
        ({"search": "note", "q": "plain"}, TEXTS),
        ({"search": "n_te"}, []),
    ],
)
def test_filters(
    notes: tuple[httpx.Client, str], params: dict[str, str], wanted: list[str]
) -> None:
    api, path = notes
    answer = api.get(path, params={**params, "limit": 100, "sort": "oldest"}).json()

    assert contents(answer) == wanted
    assert answer["total"] == len(wanted)


def test_orders(notes: tuple[httpx.Client, str]) -> None:
    api, path = notes
    for sort in ("recent", "date_desc"):
        assert contents(api.get(path, params={"sort": sort, "limit": 1}).json()) == TEXTS[-1:]
    for sort in ("oldest", "date_asc"):
        assert contents(api.get(path, params={"sort": sort, "limit": 1}).json()) == TEXTS[:1]
    assert len(api.get(path, params={"sort": "access_count"}).json()["memories"]) == 20
    assert api.get(path, params={"sort": "colour"}).status_code == 422


@pytest.mark.parametrize(
    "params",
    [{"page": 0}, {"per_page": 0}, {"per_page": 101}, {"limit": 0}, {"offset": -1},
     {"session_id": ["ana", "ben"]}, {"user_id": ["", "ana"]}, {"page": "x"},
     {"page": "9" * 30}, {"session_id": "x" * 256}],
)  # fmt: skip
def test_bounds_are_kept(notes: tuple[httpx.Client, str], params: dict[str, Any]) -> None:
    api, path = notes
    assert api.get(path, params=params).status_code == 422


def test_pages_far_away_are_empty(notes: tuple[httpx.Client, str]) -> None:
    api, path = notes
    assert api.get(path, params={"page": 2**53}).json()["memories"] == []
    assert api.get(path, params={"offset": 2**53}).json()["memories"] == []
