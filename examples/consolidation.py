"""What was said becomes what is known: a report, the profile, an update, its history, and undo.

The model is scripted: it gives the answers below, whatever it is asked. Pass any chat model, or its
name, such as "openai:gpt-5-mini", to let one decide.
"""

import json

from langchain_core.language_models import FakeListChatModel

from langchain_kronvex import KronvexMemory
from langchain_kronvex.consolidation import KronvexConsolidator

ANSWERS = [
    {"Fact": [{"text": "Ana lives in Lisbon.", "sources": [1], "reason": "her home"}]},
    # The model is shown exchanges and known facts with small numbers, and answers with them.
    {
        "Fact": [{"text": "Ana lives in Porto.", "sources": [1], "replaces": 1}],
        "Procedure": [{"text": "Always answer Ana in Portuguese.", "sources": [2]}],
    },
]


def main() -> None:
    model = FakeListChatModel(responses=[json.dumps(answer) for answer in ANSWERS])
    with KronvexMemory("sqlite://") as memory:
        consolidator = KronvexConsolidator(memory, model)

        memory.save_exchange("I live in Lisbon, near the river.", "Lovely!", user_id="ana")
        print(consolidator.run("ana"))

        memory.save_exchange("I've moved to Porto.", "Congratulations!", user_id="ana")
        memory.save_exchange("Always answer me in Portuguese.", "Claro.", user_id="ana")
        report = consolidator.run("ana")
        print(f"\n{report}")
        print(f"\nThe profile:\n{memory.profile('ana', max_tokens=40)}")

        print("\nThe history:")
        home = memory.recall("Where does Ana live?", user_id="ana", memory_type="semantic")[0]
        for each in memory.history(home.id):
            said = [source.content for id_ in each.sources if (source := memory.get(id_))]
            print(f"- {each.content} (from {said})")

        print(f"\n{consolidator.undo(report)} taken back:")
        facts = memory.memories(user_id="ana", memory_type="semantic")
        print(*(each.content for each in facts))
        assert [each.content for each in facts] == ["Ana lives in Lisbon."]
        assert len(memory.memories(user_id="ana", memory_type="episodic")) == 3  # as they were


if __name__ == "__main__":
    main()
