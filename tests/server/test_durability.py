"""Acknowledged memories are stored exactly once, however the server ends."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import httpx

from .running import Process, client

WRITERS = 8


class Writer(threading.Thread):
    """Remembers one text after another until the server is gone."""

    def __init__(self, base_url: str, name: str) -> None:
        super().__init__()
        self._base_url = base_url
        self.label = name
        self.acknowledged: list[str] = []

    def run(self) -> None:
        with client(self._base_url) as api:
            for number in range(100_000):
                text = f"{self.label} said thing number {number}"
                try:
                    answer = api.post(
                        "/agents/busy/remember", json={"content": text, "session_id": self.label}
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code == 201, answer.text
                self.acknowledged.append(text)


def stored(base_url: str) -> Counter[str]:
    with client(base_url) as api:
        found = api.get("/agents/busy/memories/export").json()["memories"]
    return Counter(memory["content"] for memory in found)


def write_and_end(process: Process, end: str) -> list[Writer]:
    writers = [Writer(process.base_url, f"{end}{n}") for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    while min(len(writer.acknowledged) for writer in writers) < 5:
        assert any(writer.is_alive() for writer in writers)
    getattr(process, end)()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()
    return writers


def test_no_acknowledged_memory_is_lost(store_url: str, log_file: Path) -> None:
    acknowledged: set[str] = set()
    begun: set[str] = set()
    process = Process(store_url, log_file)
    for end in ("kill", "terminate"):
        writers = write_and_end(process, end)
        if end == "terminate":
            assert process.wait() == 0
        begun |= {f"{w.label} said thing number {len(w.acknowledged)}" for w in writers}
        acknowledged |= {text for writer in writers for text in writer.acknowledged}
        process = Process(store_url, log_file)
        found = stored(process.base_url)
        assert acknowledged <= set(found) <= acknowledged | begun
        assert set(found.values()) == {1}
    process.kill()


def test_shutdown_waits_for_accepted_requests(store_url: str, log_file: Path) -> None:
    process = Process(store_url, log_file)
    many = {"memories": [{"content": f"memory {n} " + "words " * 500} for n in range(100)]}
    answers: list[int] = []

    def send() -> None:
        with client(process.base_url) as api:
            answers.append(api.post("/agents/a/memories/bulk-import", json=many).status_code)

    with client(process.base_url) as api:
        api.get("/agents")
        thread = threading.Thread(target=send)
        thread.start()
        while "bulk-import" not in process.log and thread.is_alive() and not answers:
            if api.get("/agents").json():  # the agent is made, so the import is under way
                break
        process.terminate()
    thread.join(30)
    assert process.wait() == 0
    assert answers == [200]
