"""A server with a language model derives what is known of the users of its agents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from kronvex import Kronvex
from langchain_core.messages import AIMessage, HumanMessage

from consolidation.models import TextModel
from inside import AGENT_SESSION, ServerSettings
from langchain_kronvex import ConfigurationError, InvalidInput, KronvexKeyValueStore, KronvexMemory
from langchain_kronvex.consolidation import ConsolidationReport
from langchain_kronvex.server import create_app

from .running import client, serving

SAID, ANSWER = "I live in Porto.", "How nice!"
PORTO = "Ana lives in Porto."
PATIENCE = 20.0


class Served:
    """A server in this process, its model, and what is needed to use it."""

    def __init__(self, stack: ExitStack, url: str, folder: Path, **settings: Any) -> None:
        self.model = TextModel(answer=AIMessage(fact(PORTO)))
        self.memory = stack.enter_context(KronvexMemory(url))
        app = create_app(self.memory, ServerSettings(**settings), consolidate=self.model)
        self.service = app.state.service
        self.base = stack.enter_context(serving(app))
        self.api = stack.enter_context(client(self.base))
        outbox = folder / "outbox.db"
        self.client = KronvexMemory(self.base, agent_id="bot", outbox=outbox)
        stack.callback(self.client.close)

    def finish(self, agent: str = "bot", **again: Any) -> ConsolidationReport | None:
        """Consolidate all who wait, without a pause; with options, run it once more."""
        with self.service.open_agents.use(agent) as opened:
            assert opened.consolidator.flush(PATIENCE)
            return opened.consolidator.run(**again) if again else None

    @property
    def shown(self) -> str:
        """Everything that the model was shown."""
        return "\n".join(each.text for messages in self.model.shown for each in messages)

    def listed(self, agent: str = "bot", **asked: Any) -> list[dict[str, Any]]:
        answer = self.api.get(f"/agents/{agent}/memories", params=asked)
        memories: list[dict[str, Any]] = answer.json()["memories"]
        return memories


def fact(text: str, **fields: Any) -> str:
    return json.dumps({"Fact": [{"text": text, "sources": [1], **fields}]})


@pytest.fixture
def served(store_url: str, tmp_path: Path) -> Iterator[Served]:
    with ExitStack() as stack:
        yield Served(stack, store_url, tmp_path)


def remember(served: Served, agent: str = "bot", **fields: Any) -> dict[str, Any]:
    body = {"content": SAID, "session_id": "ana", **fields}
    answer = served.api.post(f"/agents/{agent}/remember", json=body)
    assert answer.status_code == 201
    memory: dict[str, Any] = answer.json()
    return memory


def test_what_was_stored_over_the_api_is_consolidated(served: Served) -> None:
    said = remember(served)
    assert (said["is_meta"], said["consolidation_count"], said["sources"]) == (False, 0, [])

    served.finish()

    found = {each["content"]: each for each in served.listed(session_id="ana")}
    assert found.keys() == {SAID, PORTO}
    derived = found[PORTO]
    assert (derived["is_meta"], derived["consolidation_count"]) == (True, 1)
    assert derived["sources"] == [said["id"]]
    assert derived["session_id"] == "ana"
    assert derived["memory_type"] == "semantic"
    assert served.listed(session_id="ben") == []


def test_our_client_recalls_what_the_server_derived(served: Served) -> None:
    ana = served.client
    ana.save_exchange(SAID, ANSWER, user_id="ana", session_id="monday")
    ana.save_exchange("I like tea.", "Noted.", user_id="ben")
    assert ana.flush(PATIENCE)
    served.finish()

    assert "user| I live in Porto.\nassistant| How nice!" in served.shown
    assert PORTO in [each.content for each in ana.recall("Where does Ana live?", user_id="ana")]
    assert PORTO in str(ana.inject_context("Where does Ana live?", user_id="ana"))
    assert PORTO in str(ana.profile("ana"))
    [derived] = ana.memories(user_id="ana", memory_type="semantic")
    assert derived.content == PORTO
    assert ana.get(derived.id) is not None


def test_our_client_changes_and_forgets_what_was_derived(served: Served) -> None:
    ana = served.client
    [said] = ana.save_exchange(SAID, ANSWER, user_id="ana")
    assert ana.flush(PATIENCE)
    served.finish()
    [derived] = ana.memories(user_id="ana", memory_type="semantic")

    ana.update(derived.id, content="Ana lives in Porto, by the river.", pinned=True)
    assert ana.flush(PATIENCE)
    assert "by the river" in ana.recall("Where does Ana live?", user_id="ana")[0].content

    assert ana.forget(user_id="ana") == 2
    assert ana.memories(user_id="ana") == []
    assert served.listed() == []
    assert said.content == f"User: {SAID}\nAssistant: {ANSWER}"


def test_what_was_derived_goes_with_its_source(served: Served) -> None:
    ana = served.client
    [said] = ana.save_exchange(SAID, ANSWER, user_id="ana")
    assert ana.flush(PATIENCE)
    served.finish()

    assert ana.forget(id=said.id) == 1

    assert served.listed() == []


def test_the_sdk_recalls_what_the_server_derived(served: Served) -> None:
    with Kronvex("kv-any", base_url=served.base) as kronvex:
        agent = kronvex.agent("bot")
        agent.remember(SAID, session_id="ana")
        served.finish()

        found = agent.recall("Where does Ana live?", session_id="ana")
        assert PORTO in [each["content"] for each in found]
        assert PORTO in agent.inject_context("Where does Ana live?", session_id="ana")
        assert agent.recall("Where does Ana live?", session_id="ben") == []
        assert PORTO in [each["content"] for each in agent.memories(session_id="ana")]


def test_chats_and_items_of_a_client_are_not_shown(served: Served) -> None:
    ana = served.client
    said = HumanMessage("a message of a chat")
    ana.save_messages([said], session_id="s", user_id="ana", remember=False)
    KronvexKeyValueStore(ana, "settings").set("tone", "a value under a key")
    ana.remember("a memory of the agent itself")
    ana.save_exchange(SAID, ANSWER, user_id="ana")
    ana.save_exchange(SAID, ANSWER, user_id="langchain-kronvex:chat:of a hostile name")
    assert ana.flush(PATIENCE)
    served.api.post("/agents/bot/consolidate")
    served.finish()
    chats = {each["session_id"] for each in served.listed(limit=100)}
    assert AGENT_SESSION in chats
    assert len(chats) == 5

    again = served.finish(again="all")
    for session in sorted(chats):
        served.finish(user_id=session, again="all")

    assert again is not None
    assert again.users == 2
    assert SAID in served.shown
    for hidden in ("a message of a chat", "a value under a key", "agent itself"):
        assert hidden not in served.shown


def test_what_waited_before_the_server_ran_is_consolidated(store_url: str, tmp_path: Path) -> None:
    with KronvexMemory(store_url, agent_id="bot") as memory:
        memory.save_exchange(SAID, ANSWER, user_id="ana")
        memory.save_exchange("I live in Rome.", ANSWER, user_id="ben")
    with ExitStack() as stack:
        served = Served(stack, store_url, tmp_path)
        served.service.agents.register("", "bot")

        answer = served.api.post("/agents/bot/consolidate", json={})

        assert answer.status_code == 200
        assert answer.json() == {"status": "consolidation_queued", "agent_id": "bot"}
        served.finish()
        assert sorted(each["content"] for each in served.listed() if each["is_meta"]) == [PORTO] * 2


def test_imports_and_corrections_are_consolidated(served: Served) -> None:
    both = [{"content": SAID, "session_id": "ana"}, {"content": "I am Ben.", "session_id": "ben"}]
    imported = served.api.post("/agents/bot/memories/bulk-import", json={"memories": both})
    assert imported.json()["imported"] == 2
    served.finish()
    assert len(served.model.shown) == 2
    [ben] = [each for each in served.listed(session_id="ben") if not each["is_meta"]]

    changed = {"content": "I am Benedict."}
    assert served.api.patch(f"/agents/bot/memories/{ben['id']}", json=changed).status_code == 200
    served.finish()

    assert "I am Benedict." in served.shown


def test_an_agent_consolidates_its_own_users_only(served: Served) -> None:
    remember(served, "bot")
    remember(served, "other", content="I live in Rome.")

    served.finish("bot")

    assert len(served.model.shown) == 1
    assert "Rome" not in served.shown
    assert len(served.listed("other")) == 1


def test_an_unknown_agent_is_not_consolidated(served: Served) -> None:
    answer = served.api.post("/agents/nobody/consolidate")

    assert answer.status_code == 404
    assert served.api.get("/agents").json() == []


def test_without_a_model_the_answer_names_the_option(api: httpx.Client, agent: str) -> None:
    api.post(f"/agents/{agent}/remember", json={"content": SAID})
    answer = api.post(f"/agents/{agent}/consolidate")

    assert answer.status_code == 501
    assert "--consolidate" in answer.json()["detail"]


def test_only_a_server_with_a_model_describes_it(served: Served, api: httpx.Client) -> None:
    def paths(base: Any) -> set[str]:
        return {*httpx.get(f"{base}/openapi.json").json()["paths"]}

    path = "/api/v1/agents/{agent_id}/consolidate"
    assert path in paths(served.base)
    assert path not in paths(str(api.base_url).removesuffix("/api/v1/"))


def sweepers() -> set[threading.Thread]:
    """The threads of consolidators."""
    return {each for each in threading.enumerate() if each.name.endswith("-consolidation")}


def ended(threads: set[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(PATIENCE)
    return not any(thread.is_alive() for thread in threads)


def test_an_agent_that_is_closed_stops(store_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        served = Served(stack, store_url, tmp_path, open_memories=1)
        before = sweepers()
        for name in ("a", "b", "c"):
            remember(served, name)
        of_the_first = sweepers() - before
        remember(served, "d")
        of_the_last = sweepers() - before - of_the_first

        assert ended(of_the_first - of_the_last)
        served.service.close()
        assert ended(of_the_last)
        assert served.memory.stats().memories == 0  # it is its owner's to close


def test_the_memory_that_is_served_stays_open(store_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        served = Served(stack, store_url, tmp_path)
        before = sweepers()
        remember(served, served.memory.agent_id)
        mine = sweepers() - before
        assert len(mine) == 1

        served.service.close()

        assert ended(mine)
        assert served.memory.stats().memories == 1


@pytest.mark.parametrize(
    ("model", "error"), [(5, InvalidInput), ("no such provider:x", ConfigurationError)]
)
def test_a_model_that_cannot_be_used_is_rejected(
    memory: KronvexMemory, model: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="openai:gpt-4o-mini"):
        create_app(memory, consolidate=model)
