"""What `mkdocs build` adds to the pages in docs: a hook, named in mkdocs.yml.

Pages are made of the examples, of `--help` of every command, of the server's OpenAPI document and
of the files for developers. Links to files outside docs lead to these pages, or become plain text.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PROJECT = {  # the source of a page, by the page
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/security.md": "SECURITY.md",
    "examples/index.md": "examples/README.md",
}
PAGES_OF = {source: page for page, source in PROJECT.items()} | {
    "README.md": "index.md",
    "docs/adr": "adr/README.md",
}
LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]+)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of something else."""
    pages = {page: _read(source) for page, source in PROJECT.items()}
    for path in sorted((ROOT / "examples").glob("*.py")):
        pages[f"examples/{path.stem}.md"] = example_page(path)
    pages["reference/cli.md"] = command_line_page()
    pages["reference/rest.md"] = rest_page()
    for name, content in pages.items():
        is_example = name.startswith("examples/") and name != "examples/index.md"
        shown = InclusionLevel.NOT_IN_NAV if is_example else InclusionLevel.UNDEFINED
        files.append(File.generated(config, name, content=content, inclusion=shown))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files outside docs to their pages, or show their texts alone."""
    name = page.file.src_uri
    return LINK.sub(lambda found: _link(found, name), markdown)


def _link(found: re.Match[str], page: str) -> str:
    text, path, anchor = found.groups()
    source = posixpath.dirname(PROJECT.get(page, f"docs/{page}"))
    target = posixpath.normpath(posixpath.join(source, path))
    if target in PAGES_OF:
        to = PAGES_OF[target]
    elif target.startswith("docs/"):
        to = target.removeprefix("docs/")
    elif re.fullmatch(r"examples/\w+\.py", target):
        to = f"{target[:-3]}.md"
    else:
        return text
    return f"[{text}]({posixpath.relpath(to, posixpath.dirname(page) or '.')}{anchor or ''})"


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def example_page(path: Path) -> str:
    """Return a page that shows an example."""
    code = path.read_text(encoding="utf-8")
    about = ast.get_docstring(ast.parse(code)) or ""
    summary = about.partition("\n\n")[0]
    return f"# `{path.name}`\n\n{summary}\n\n```python\n{code}```\n"


# -- the command line --------------------------------------------------------------------------


def command_line_page() -> str:
    """Return a page with `--help` of the command and of all its commands."""
    from langchain_kronvex.cli.main import parser

    os.environ["COLUMNS"] = "100"
    parts = [
        "# The command line: every option\n\n[The command line](../command-line.md) explains it.\n"
    ]
    for words, text in _helps(parser(), ()):
        heading = "#" * (len(words) + 2)
        parts.append(
            f"{heading} `{' '.join(('langchain-kronvex', *words))}`\n\n```text\n{text}```\n"
        )
    return "\n".join(parts)


def _helps(parser: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    yield words, parser.format_help()
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for name, command in action.choices.items():
                yield from _helps(command, (*words, name))


# -- the REST API ------------------------------------------------------------------------------


def rest_page() -> str:
    """Return a page with every operation of the server's OpenAPI document."""
    from langchain_kronvex import KronvexMemory
    from langchain_kronvex.server import create_app

    with contextlib.redirect_stderr(io.StringIO()), KronvexMemory("sqlite://") as memory:
        document = create_app(memory).openapi()
    schemas = document["components"]["schemas"]
    parts = [
        "# The REST API: every operation\n",
        "[The server](../server.md) explains whose memory a request means. A running server gives "
        'the same as `/openapi.json`. An error is answered as `{"detail": …}`.\n',
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation, schemas))
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    parts = [
        f"## {operation['summary']}\n",
        f"`{method.upper()} {path}`\n",
        operation.get("description", "") + "\n",
    ]
    rows = [
        (each["name"], each["in"], _kind(each["schema"]), each.get("description", ""))
        for each in operation.get("parameters", [])
    ]
    body = _schema_of(operation.get("requestBody", {}), schemas)
    for name, field in body.get("properties", {}).items():
        where = "body, required" if name in body.get("required", ()) else "body"
        rows.append((name, where, _kind(field), field.get("description", "")))
    if rows:
        parts.append("| field | in | type | |\n|---|---|---|---|")
        parts += [
            f"| `{n}` | {where} | {kind} | {_cell(about)} |" for n, where, kind, about in rows
        ]
        parts.append("")
    for status, answer in operation["responses"].items():
        named = _name_of_schema(answer)
        shown = f": {_fields(named, schemas)}" if status.startswith("2") and named else ""
        parts.append(f"- **{status}** {answer['description']}{shown}")
    return "\n".join([*parts, ""])


def _fields(name: str, schemas: dict[str, Any]) -> str:
    return ", ".join(f"`{field}`" for field in schemas[name].get("properties", {}))


def _name_of_schema(holder: dict[str, Any]) -> str:
    schema = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _schema_of(holder: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schemas.get(_name_of_schema(holder), {})
    return found


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_kind, schema["anyOf"])))
    if "$ref" in schema:
        return f"{schema['$ref'].rpartition('/')[2]}"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    return f"array of {_kind(schema['items'])}" if kind == "array" and schema.get("items") else kind


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
