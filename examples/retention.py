"""Limits for each user: on the number of memories, and on how long they go without being used."""

from datetime import datetime, timedelta, timezone

from langchain_kronvex import KronvexMemory, Retention

NOW = datetime.now(timezone.utc)


def main() -> None:
    with KronvexMemory("sqlite:///kept.db") as memory:
        for days, text in (
            (200, "I am looking for a present for Eva."),
            (150, "My train to Porto leaves at nine."),
            (100, "The code of the garage is 4711."),
            (1, "The new printer is on the second floor."),
        ):
            memory.remember(text, user_id="ana", created_at=NOW - timedelta(days=days))
        long_ago = NOW - timedelta(days=365)
        memory.remember("I am allergic to nuts.", user_id="ana", pinned=True, created_at=long_ago)
        memory.recall("What is the code of the garage?", user_id="ana", top_k=1)

    # Off by default. With it, memories are erased in the background, at opening and after writes.
    kept = Retention(max_memories=1000, idle_days=90, keep_types=("procedural", "preference"))
    with KronvexMemory("sqlite:///kept.db", retention=kept) as memory:
        memory.flush()  # wait for the run at opening
        for each in memory.memories(all_users=True):
            print(f"{each.user_id}: {each.content}")
        assert len(memory.memories(user_id="ana")) == 3  # pinned, recalled, and new
        print("next:", memory.expire(dry_run=True))  # nothing yet
        print(memory.users())


if __name__ == "__main__":
    main()
