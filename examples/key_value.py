"""A key-value store next to the memories: settings, caches, and lists shared by workers."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from langchain_kronvex import KronvexKeyValueStore, KronvexMemory


def append(entry: str, log: list[str]) -> list[str]:
    return [*log, entry]


def main() -> None:
    with KronvexMemory("sqlite:///values.db") as memory:
        settings = KronvexKeyValueStore(memory, "settings of ana")
        settings.set("tone", {"formal": False, "emoji": 0})
        settings.set("promotion", "spring", ttl_days=7)
        print(settings.get("tone"), settings.get("signature", "Ana"), "promotion" in settings)

        # Eight workers append to one list without overwriting each other's entries.
        jobs = KronvexKeyValueStore(memory, "jobs")
        jobs.delete("done")
        with ThreadPoolExecutor(8) as workers:
            for number in range(40):
                workers.submit(jobs.change, "done", partial(append, f"job {number}"), default=[])
        print(len(jobs.get("done")), "jobs are noted")
        assert len(set(jobs.get("done"))) == 40

    with KronvexMemory("sqlite:///values.db") as memory:  # like another process
        settings = KronvexKeyValueStore(memory, "settings of ana")
        assert settings.list_keys() == ["promotion", "tone"]
        print(settings.list_keys("t"), "are still there")


if __name__ == "__main__":
    main()
