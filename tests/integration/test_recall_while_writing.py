"""Recall while others write: what it finds is whole, and nothing is missed."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from langchain_core.messages import AIMessage, HumanMessage

from langchain_kronvex import KronvexMemory, with_memory

from .crew import Crew
from .parts import HashedWords, long_text, parrot

OpenMemory = Callable[..., KronvexMemory]
_EXCHANGE = re.compile(r"User: (.*?)(?:\nAssistant: (.*))?", re.DOTALL)
READERS = 3


def check_whole(content: str) -> None:
    """Check a memory made of `long_text`s: the whole of one, or of a question with its answer."""
    exchange = _EXCHANGE.fullmatch(content)
    said, answer = exchange.groups() if exchange else (content, None)
    assert said == long_text(said.split(" ", 1)[0])
    assert answer in (None, f"re {said}")


def read_until(
    stop: threading.Event, memory: KronvexMemory, user_id: str, queries: list[str]
) -> int:
    """Recall again and again; return how often there was something."""
    found = 0
    while True:
        last = stop.is_set()
        for query in queries:
            recalled = memory.recall(query, user_id=user_id, top_k=30)
            for each in recalled:
                check_whole(each.content)
                assert 0 <= each.similarity <= 1
                assert 0 < each.probability < 1
            assert len({each.id for each in recalled}) == len(recalled)
            found += bool(recalled)
        if last:
            return found


def test_recall_while_another_process_writes(
    crew: Crew, open_memory: OpenMemory, store_url: str
) -> None:
    memories = [open_memory(embeddings=HashedWords()) for _ in range(2)]
    child = crew.start("write_until_killed", url=store_url, user_id="ana", round_number=7)
    stop = threading.Event()
    with ThreadPoolExecutor(READERS) as pool:
        readers = [
            pool.submit(
                read_until, stop, memories[n % 2], "ana", ["r7n3", "re r7n8 r7n2", "r7n11a"]
            )
            for n in range(READERS)
        ]
        try:
            written = [child.hear() for _ in range(60)]
        finally:
            stop.set()
        assert all(reader.result() for reader in readers)
    written += child.kill()
    for memory in memories:
        for token in written[:60:6]:  # every way of writing among them
            query = f"{token} {token}a"  # of several together each has a letter
            found = memory.recall(query, user_id="ana", top_k=5, order_by="similarity")
            assert any(token in each.content for each in found)


def test_recall_while_other_threads_write_embed_and_forget(open_memory: OpenMemory) -> None:
    memory = open_memory(embeddings=HashedWords())
    words = open_memory(embeddings=False)  # its memories get their vectors from the next opening
    chain = with_memory(parrot(), memory)
    stop = threading.Event()

    def write(number: int) -> list[str]:
        kept = []
        for turn in range(12):
            token = f"t{number}n{turn}"
            text = long_text(token)
            if turn % 4 == 0:
                history = memory.chat_history(f"chat{number}", "ana")
                history.add_messages([HumanMessage(text)])
                history.add_messages([AIMessage(f"re {text}")])
            elif turn % 4 == 1:
                config = {"configurable": {"user_id": "ana", "session_id": f"chain{number}"}}
                chain.invoke({"input": text}, config)  # type: ignore[arg-type]
            elif turn % 4 == 2:
                stored = words.remember(text, user_id="ana", memory_type="semantic")
                memory.update(stored.id, pinned=True)
            else:
                [gone] = memory.save_exchange(text, f"re {text}", user_id="ana")
                assert memory.forget(id=gone.id) == 1
                continue
            kept.append(token)
        return kept

    with ThreadPoolExecutor(READERS + 2) as pool:
        queries = ["t0n0 t1n1", "re t0n4", "t1n10"]
        readers = [pool.submit(read_until, stop, memory, "ana", queries) for _ in range(READERS)]
        writers = [pool.submit(write, number) for number in range(2)]
        try:
            kept = [token for writer in writers for token in writer.result()]
        finally:
            stop.set()
        assert all(reader.result() for reader in readers)
    for one in (memory, words):
        found = one.recall("anything", user_id="ana", top_k=1000)
        assert sorted(m.content.split()[m.content.startswith("User:")] for m in found) == sorted(
            kept
        )
        answered = [m.content for m in found if m.content.startswith("User:")]
        assert all("\nAssistant: re " in content for content in answered)
