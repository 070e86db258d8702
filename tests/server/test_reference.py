"""The page `/docs`: every operation, nothing from other hosts, and texts as texts."""

from __future__ import annotations

import json
import re

import httpx

from inside import page

from .running import Process


def test_the_page_shows_every_operation_and_loads_nothing(server: Process) -> None:
    answer = httpx.get(f"{server.base_url}/docs", verify=False)
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"].startswith("text/html")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"https?://|<script|src=| on\w+=|<link|@import|url\(", answer.text)
    api = httpx.get(f"{server.base_url}/openapi.json", verify=False).json()
    for path, operations in api["paths"].items():
        for method in operations:
            assert f"<b>{method.upper()}</b> <code>{path}</code>" in answer.text


def test_an_example_of_the_page_works(server: Process, agent: str) -> None:
    text = httpx.get(f"{server.base_url}/docs", verify=False).text
    [given] = re.findall(r"agent_id/remember&quot;.*?--json &#x27;(.*?)&#x27;", text, re.DOTALL)
    body = json.loads(given.replace("&quot;", '"'))
    url = f"{server.base_url}/api/v1/agents/{agent}/remember"
    assert httpx.post(url, json=body, verify=False).status_code == 201


def test_texts_of_the_document_are_shown_as_texts() -> None:
    evil = "<img src=x onerror=alert(1)>"
    told = {"description": evil, "parameters": [{"name": evil, "in": "query", "schema": {}}]}
    operation = {**told, "tags": [evil], "responses": {"200": {"description": evil}}}
    shown = page({"info": {"title": evil, "version": evil}, "paths": {evil: {"get": operation}}})
    assert "<img" not in shown
    assert shown.count("&lt;img") >= 6
