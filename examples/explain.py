"""See why a memory was recalled, or what kept it out: every feature's share in its score."""

from langchain_kronvex import KronvexMemory

NOTES = [
    "Ana is allergic to peanuts.",
    "Ana plays the cello in an orchestra.",
    "The car needs new tyres before winter.",
]
QUESTION = "Which nuts is Ana allergic to?"


def main() -> None:
    with KronvexMemory("sqlite://") as memory:
        peanuts, _, car = [
            memory.remember(note, memory_type="semantic", user_id="ana") for note in NOTES
        ]

        why = memory.explain(QUESTION, peanuts.id, user_id="ana", top_k=2)
        print(why)
        assert why.rank == 1
        assert abs(sum(why.shares.values()) - why.relevance) < 1e-5

        why_not = memory.explain(QUESTION, car.id, user_id="ana", top_k=2)
        print("\n", why_not, sep="")
        assert why_not.kept_out == ("top_k",)
        assert (why_not.place, why_not.of) == (3, 3)


if __name__ == "__main__":
    main()
