"""The configuration of the page for desktop clients, as a client would run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .clients import contents, ok, over_stdio

PAGE = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text(encoding="utf-8")


async def test_the_configuration_starts_a_server(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    server = json.loads(block)["mcpServers"]["memory"]
    assert server["command"] == "langchain-kronvex"
    command, url_option, url, *options = server["args"]
    assert (command, url_option) == ("mcp", "--url")
    url = url.replace("/home/ana", str(tmp_path))

    async with over_stdio(url, tmp_path / "log", *options) as model:
        named = set(re.findall(r"^\| `(\w+)` \| `", PAGE, re.MULTILINE))
        tools = {tool.name: tool for tool in (await model.list_tools()).tools}
        assert named == set(tools)
        for name, arguments in re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE, re.MULTILINE):
            listed = re.findall(r"`(\w+)`", arguments)
            assert set(listed) == set(tools[name].inputSchema["properties"])
        await ok(model, "remember", content="Ana drinks tea.")
        assert contents(await ok(model, "recall", query="tea")) == ["Ana drinks tea."]
    assert (tmp_path / "memory.db").is_file()
