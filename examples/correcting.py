"""A fact is corrected, replaced with its past kept, asked for as of a day, and brought back."""

from datetime import datetime, timezone

from langchain_kronvex import KronvexMemory


def day(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=timezone.utc)


def main() -> None:
    with KronvexMemory("sqlite://") as memory:

        def home(as_of: datetime | None = None) -> str:
            found = memory.recall("Where does Ana live?", user_id="ana", top_k=1, as_of=as_of)
            return found[0].content

        # A mistake is corrected in place: no byte of the wrong text is left.
        lisbon = memory.remember(
            "Ana lives in Lissbon.", user_id="ana", memory_type="semantic", valid_from=day(2019, 3)
        )
        memory.update(lisbon.id, content="Ana lives in Lisbon.")
        print("corrected:", home())

        # What has changed is superseded: the older fact is kept, and hidden.
        porto = memory.remember(
            "Ana lives in Porto.", user_id="ana", memory_type="semantic", valid_from=day(2025, 6),
            supersedes=lisbon.id,
        )  # fmt: skip
        print("now:", home())
        print("in 2024:", home(as_of=day(2024, 1)))
        for each in memory.history(porto.id):
            until = each.valid_until.date() if each.valid_until else "today"
            print(f"  {each.valid_from.date()} to {until}: {each.content}")

        # It was a misunderstanding: the newer one goes, the older one comes back.
        memory.forget(id=porto.id)
        memory.restore(lisbon.id)
        print("restored:", home())


if __name__ == "__main__":
    main()
