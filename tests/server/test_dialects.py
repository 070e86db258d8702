"""Requests as tutorials and users of the open-source server write them, and their responses."""

from __future__ import annotations

import httpx
import pytest

MEMORY_KEYS = set(
    "id agent_id content session_id memory_type type metadata created_at access_count expires_at "
    "pinned agent_memory_count deduplicated superseded superseded_by conflict_detected "
    "conflicts_resolved is_meta consolidation_count sources user_id valid_from valid_until".split()
)
SAID = "User prefers concise answers"


def remember(api: httpx.Client, agent: str, **body: object) -> httpx.Response:
    return api.post(f"/agents/{agent}/remember", json={"content": SAID, **body})


def found(api: httpx.Client, agent: str, **body: object) -> list[str]:
    answer = api.post(f"/agents/{agent}/recall", json={"query": "answers", **body}).json()
    return [each["content"] for each in answer["memories"]]


def test_remember_answers_the_union_of_all_keys(api: httpx.Client, agent: str) -> None:
    answer = remember(api, agent, memory_type="semantic", session_id="user-42")

    assert answer.status_code == 201
    memory = answer.json()
    assert set(memory) == MEMORY_KEYS
    assert memory["memory_type"] == memory["type"] == "semantic"
    assert memory["created_at"].endswith("Z")
    assert memory["agent_memory_count"] == 1
    assert memory["user_id"] is None


def test_the_requests_of_the_tutorials_work(api: httpx.Client, agent: str) -> None:
    stored = remember(api, agent, type="fact", user_id="user-42").json()

    assert stored["memory_type"] == "fact"
    assert stored["session_id"] == "user-42"
    assert found(api, agent, user_id="user-42") == [SAID]
    assert found(api, agent, session_id="user-42") == [SAID]
    assert found(api, agent, session_id="user-42", user_id="user-42") == [SAID]
    context = api.post(
        f"/agents/{agent}/inject-context", json={"query": "answers", "user_id": "user-42"}
    ).json()
    assert context["context"] == context["context_block"] != ""
    assert context["memories_used"] == len(context["memories"]) == 1
    assert context["memories"][0]["memory"]["content"] == context["memories"][0]["content"] == SAID


def test_a_blank_message_gives_the_profile(api: httpx.Client, agent: str) -> None:
    remember(api, agent, type="fact", user_id="user-42")
    remember(api, agent, content="Always answer in Dutch.", type="procedural", user_id="user-42",
             pinned=True)  # fmt: skip
    for message in ("", " \n", "What do you know about me?"):
        body = {"message": message, "user_id": "user-42"}
        answer = api.post(f"/agents/{agent}/inject-context", json=body).json()
        said = [line.partition("] ")[2] for line in answer["context"].splitlines()]
        assert said == ["Always answer in Dutch.", SAID]
        assert [each["similarity"] for each in answer["memories"]] == [0, 0]
    assert api.post(f"/agents/{agent}/inject-context", json={"message": ""}).json()["context"] == ""
    assert api.post(f"/agents/{agent}/recall", json={"query": ""}).status_code == 422


def test_recall_answers_both_forms(api: httpx.Client, agent: str) -> None:
    remember(api, agent, session_id="user-42")
    answer = api.post(
        f"/agents/{agent}/recall", json={"query": "answers", "session_id": "user-42"}
    ).json()

    assert (answer["query"], answer["total_found"]) == ("answers", 1)
    (nested,), (flat,) = answer["results"], answer["memories"]
    assert set(nested["memory"]) == MEMORY_KEYS
    assert set(flat) == MEMORY_KEYS | {"score", "similarity", "confidence", "probability"}
    assert flat["score"] == flat["similarity"] == nested["similarity"]
    assert flat["confidence"] == nested["confidence"]
    nothing = api.post(f"/agents/{agent}/recall", json={"query": "x", "session_id": "b"}).json()
    assert nothing["memories"] == nothing["results"] == []


@pytest.mark.parametrize(
    ("given", "stored_as"),
    [
        ({"memory_type": "semantic", "type": "fact"}, "semantic"),
        ({"memory_type": "semantic", "type": "no type at all"}, "semantic"),
        ({"memory_type": None, "type": "fact"}, "fact"),
        ({}, "episodic"),
    ],
)
def test_memory_type_comes_before_type(
    api: httpx.Client, agent: str, given: dict[str, object], stored_as: str
) -> None:
    assert remember(api, agent, **given).json()["memory_type"] == stored_as


def test_query_and_message_each_come_first_in_their_own_call(api: httpx.Client, agent: str) -> None:
    remember(api, agent, session_id="u")
    both = {"query": "  ", "message": "answers", "session_id": "u"}

    assert api.post(f"/agents/{agent}/recall", json=both).status_code == 422
    assert api.post(f"/agents/{agent}/inject-context", json=both).json()["memories_used"] == 1


def test_two_different_ids_are_a_user_and_a_session(api: httpx.Client, agent: str) -> None:
    first = remember(api, agent, user_id="ana", session_id="1").json()
    api.post(
        f"/agents/{agent}/remember",
        json={"content": "Ben wants long answers", "user_id": "ben", "session_id": "1"},
    )

    assert (first["user_id"], first["session_id"]) == ("ana", "1")
    assert found(api, agent, user_id="ana", session_id="1") == [SAID]
    assert found(api, agent, user_id="ana") == [SAID]
    assert found(api, agent, user_id="ana", session_id="2") == []


def test_nulls_and_unknown_fields_are_no_trouble(api: httpx.Client, agent: str) -> None:
    unset = dict.fromkeys(
        ["memory_type", "type", "session_id", "user_id", "metadata", "ttl_days", "ttl_seconds",
         "pinned", "colour"]
    )  # fmt: skip
    assert remember(api, agent, **unset).status_code == 201
    more = dict.fromkeys(["threshold", "top_k", "memory_type", "session_id", "context_messages"])
    assert found(api, agent, **more) == [SAID]


def test_the_same_text_is_stored_once_for_each_user_and_type(api: httpx.Client, agent: str) -> None:
    first = remember(api, agent, session_id="ana", ttl_days=1)
    again = remember(api, agent, user_id="ana", ttl_seconds=3600 * 48)
    others = [
        remember(api, agent, session_id="ben"),
        remember(api, agent),
        remember(api, agent, session_id="ana", memory_type="semantic"),
    ]

    assert "x-dedup-hit" not in first.headers
    assert again.headers["x-dedup-hit"] == "true"
    assert again.json()["deduplicated"] is True
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["expires_at"] > first.json()["expires_at"]
    assert not any(other.json()["deduplicated"] for other in others)
    assert others[-1].json()["agent_memory_count"] == 4


def test_similar_sentences_all_stay(api: httpx.Client, agent: str) -> None:
    for number in range(1001, 1006):
        api.post(f"/agents/{agent}/remember", json={"content": f"order {number}"})

    assert len(found(api, agent, query="order", top_k=20)) == 5


def test_an_empty_id_counts_as_left_out(api: httpx.Client, agent: str) -> None:
    remember(api, agent, session_id="")

    assert found(api, agent) == found(api, agent, session_id="", user_id=None) == [SAID]


def test_recall_without_ids_sees_no_users_memories_by_default(serve) -> None:
    from .running import client

    with client(serve()) as closed, client(serve(all_sessions=True)) as open_:
        remember(closed, "bot", session_id="ana")
        assert found(closed, "bot") == []
        assert found(open_, "bot") == [SAID]
        body = {"message": "answers"}
        assert closed.post("/agents/bot/inject-context", json=body).json()["context"] == ""
        assert SAID in open_.post("/agents/bot/inject-context", json=body).json()["context"]


def test_order_is_by_confidence_and_top_k_is_kept(api: httpx.Client, agent: str) -> None:
    for n in range(12):
        body = {"content": f"answer number {n} is short", "session_id": "u"}
        api.post(f"/agents/{agent}/remember", json=body)
    for top_k in (1, 3, 20):
        body = {"query": "short answer 7", "top_k": top_k, "session_id": "u"}
        memories = api.post(f"/agents/{agent}/recall", json=body).json()["memories"]
        confidences = [each["confidence"] for each in memories]
        assert len(memories) == min(top_k, 12)
        assert confidences == sorted(confidences, reverse=True)


def test_a_pinned_memory_does_not_expire(api: httpx.Client, agent: str) -> None:
    stored = remember(api, agent, ttl_days=1).json()
    path = f"/agents/{agent}/memories/{stored['id']}"

    assert stored["expires_at"].endswith("Z")
    pinned = api.patch(path, json={"pinned": True, "memory_type": "fact"}).json()
    assert (pinned["pinned"], pinned["expires_at"], pinned["memory_type"]) == (True, None, "fact")
    loose = api.patch(path, json={"pinned": False}).json()
    assert (loose["pinned"], loose["expires_at"], loose["content"]) == (False, None, SAID)
    assert api.get(path).json() == loose


def test_an_agents_life(api: httpx.Client) -> None:
    made = api.post("/agents", json={"name": "bot", "metadata": {"a": 1}})
    assert made.status_code == 201
    agent = made.json()
    assert set(agent) == {
        "id", "name", "description", "metadata", "created_at", "memory_count"
    }  # fmt: skip
    remember(api, agent["id"].upper())

    changed = api.patch(f"/agents/{agent['id']}", json={"name": "b", "metadata": {"c": None}})
    assert changed.json() == {**agent, "name": "b", "metadata": {"c": None}, "memory_count": 1}
    assert api.get(f"/agents/{agent['id']}").json() == changed.json()
    assert api.get("/agents").json()[0] == changed.json()
    gone = api.delete(f"/agents/{agent['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        assert api.request(method, f"/agents/{agent['id']}", json={}).json() == {
            "detail": "Agent not found"
        }


def test_a_deleted_name_starts_empty(api: httpx.Client, agent: str) -> None:
    remember(api, agent, session_id="ana")
    api.delete(f"/agents/{agent}")

    assert api.post(f"/agents/{agent}/recall", json={"query": "x"}).status_code == 404
    assert remember(api, agent, session_id="ben").json()["agent_memory_count"] == 1
    assert found(api, agent, session_id="ana") == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/agents/a/ingest"), ("GET", "/api/v1/agents/a/graph"),
        ("GET", "/api/v1/agents/a/conflicts"), ("GET", "/api/v1/agents/a/audit"),
        ("POST", "/api/v1/agents/a/consolidate"), ("POST", "/auth/demo"),
        ("GET", "/auth/webhooks"), ("POST", "/auth/webhooks"), ("DELETE", "/auth/webhooks/1"),
        ("GET", "/api/v1/agents/a/health"), ("GET", "/api/v1/stats/weekly"),
        ("GET", "/api/v1/analytics/global"),
    ],
)  # fmt: skip
def test_parts_not_offered_answer_501(server, method: str, path: str) -> None:
    answer = httpx.request(method, f"{server.base_url}{path}", json={})

    assert answer.status_code == 501
    assert answer.json()["detail"].startswith("Not offered by this server")


def test_reports(api: httpx.Client, agent: str) -> None:
    remember(api, agent, session_id="ana", pinned=True, memory_type="semantic")
    api.post(f"/agents/{agent}/recall", json={"query": "answers", "session_id": "ana"})

    analytics = api.get(f"/agents/{agent}/analytics?days=3").json()
    assert analytics["by_type"] == {"semantic": 1}
    assert (analytics["total_memories"], analytics["pinned_memories"]) == (1, 1)
    assert analytics["sessions"][0]["session_id"] == "ana"
    assert analytics["sessions"][0]["last_at"].endswith("+00:00")
    assert [day["count"] for day in analytics["daily_memories"]] == [0] * 13 + [1]
    assert api.get("/usage/today").json()["today"]["stores"] >= 1


def test_the_root(server) -> None:
    base = server.base_url
    health = httpx.get(f"{base}/health")
    assert health.json()["status"] == "ok"
    assert health.headers["x-kronvex-version"] == health.json()["version"]
    assert httpx.get(f"{base}/version").json()["api"] == "v1"
    assert httpx.get(f"{base}/ping").json() == "pong"
    assert httpx.get(f"{base}/api/v1/agents/").json() == {"detail": "Not Found"}
    assert httpx.put(f"{base}/api/v1/agents").json() == {"detail": "Method Not Allowed"}
    assert httpx.get(f"{base}/nowhere").json() == {"detail": "Not Found"}
