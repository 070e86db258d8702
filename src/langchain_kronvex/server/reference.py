"""The page /docs: the OpenAPI document as HTML, without a script and without other hosts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

Schema = Mapping[str, Any]
_DEPTH = 4  # of examples
_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; }
body { padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; }
details { padding: .5rem .8rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary b { display: inline-block; min-width: 4.5rem; }
pre { background: var(--soft); border-radius: 6px; padding: .7rem; font-size: .85em; }
pre { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9em; }
td { border-top: 1px solid var(--line); padding: .25rem .6rem .25rem 0; vertical-align: top; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


async def reference(request: Request) -> Response:
    """Answer /docs; like /openapi.json it is the same for everybody, and needs no key."""
    return HTMLResponse(page(request.app.openapi()), headers=_HEADERS)


def page(api: Schema) -> str:
    """Return the page for an OpenAPI document."""
    groups: dict[str, list[str]] = {}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append("".join(_operation(api, method, path, operation)))
    title = escape(f"{api['info']['title']} {api['info']['version']}")
    parts = [f"<h2>{escape(tag)}</h2>{''.join(found)}" for tag, found in groups.items()]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{escape(api['info'].get('description', ''))} The same as data: "
        '<a href="openapi.json">openapi.json</a>.</p>'
        "<p>The examples expect the address of the server in <code>KRONVEX_BASE_URL</code>, and a "
        f"key in <code>KRONVEX_API_KEY</code>.</p>{''.join(parts)}</body></html>"
    )


def _operation(api: Schema, method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"<details><summary><b>{escape(method.upper())}</b> <code>{escape(path)}</code></summary>"
    yield f"<p>{escape(operation.get('description', operation.get('summary', '')))}</p>"
    asked = operation.get("parameters", [])
    yield _table(
        (each["name"], each["in"], _kind(api, each["schema"]), _needed(each.get("required", False)))
        for each in asked
    )
    body = _json_schema(operation.get("requestBody", {}))
    if body:
        yield f"<h4>Body</h4>{_fields(api, body)}"
    yield f"<pre>{escape(_curl(api, method, path, operation, body))}</pre><h4>Responses</h4>"
    yield _table(
        (status, told.get("description", "")) for status, told in operation["responses"].items()
    )
    answer = _json_schema(next(iter(operation["responses"].values())))
    if answer:
        yield f"<pre>{escape(json.dumps(_example(api, answer), indent=2))}</pre>"
    yield "</details>"


def _curl(api: Schema, method: str, path: str, operation: Schema, body: Schema) -> str:
    """Return an example for a shell, with what is required."""
    needed = [
        p for p in operation.get("parameters", []) if p["in"] == "query" and p.get("required")
    ]
    query = "&".join(f"{each['name']}={_example(api, each['schema'])}" for each in needed)
    address = f"$KRONVEX_BASE_URL{path.replace('{', '').replace('}', '')}{'?' * bool(query)}{query}"
    lines = [f'curl -X {method.upper()} "{address}"']
    if operation.get("security"):
        lines.append('-H "X-API-Key: $KRONVEX_API_KEY"')
    if body:
        given = json.dumps(_example(api, body, only_needed=True)).replace("'", r"'\''")
        lines.append(f"--json '{given}'")
    return " \\\n  ".join(lines)


def _fields(api: Schema, schema: Schema) -> str:
    resolved = _resolved(api, schema)
    needed = resolved.get("required", ())
    return _table(
        (name, _kind(api, field), _needed(name in needed), field.get("description", ""))
        for name, field in resolved.get("properties", {}).items()
    )


def _needed(is_needed: bool) -> str:
    return "required" if is_needed else ""


def _table(rows: Iterable[Iterable[object]]) -> str:
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>" if lines else ""


def _json_schema(holder: Schema) -> Schema:
    """Return the schema of a body or a response; an empty one without JSON."""
    found: Schema = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return found


def _resolved(api: Schema, schema: Schema) -> Schema:
    """Follow a reference, and take the first of several possible schemas."""
    while True:
        if "$ref" in schema:
            schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif several := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            schema = several[0]
        else:
            return schema


def _kind(api: Schema, schema: Schema) -> str:
    several = schema.get("anyOf") or schema.get("oneOf") or [schema]
    kinds = [_one_kind(api, each) for each in several]
    default = f" = {json.dumps(schema['default'])}" if schema.get("default") is not None else ""
    return " | ".join(dict.fromkeys(kinds)) + default


def _one_kind(api: Schema, schema: Schema) -> str:
    found = _resolved(api, schema)
    if "enum" in found:
        return " | ".join(map(json.dumps, found["enum"]))
    if found.get("type") == "array":
        return f"list of {_kind(api, found.get('items', {}))}"
    return str(found.get("format") or found.get("type") or "any")


def _example(api: Schema, schema: Schema, depth: int = _DEPTH, *, only_needed: bool = False) -> Any:
    """Return a value that fits a schema."""
    found = _resolved(api, schema)
    for known in ("example", "default", "const"):
        if found.get(known) is not None:
            return found[known]
    if chosen := found.get("enum") or found.get("examples"):
        return chosen[0]
    kind = found.get("type")
    if kind == "object" and depth:
        names = found.get("required", ()) if only_needed else found.get("properties", {})
        return {name: _example(api, found["properties"][name], depth - 1) for name in names}
    if kind == "array" and depth:
        return [_example(api, found.get("items", {}), depth - 1)]
    if kind == "string" and found.get("format") == "date-time":
        return "2026-04-28T09:00:00Z"
    simple: dict[Any, Any] = {"string": "text", "boolean": True, "object": {}, "array": []}
    return simple.get(kind, found.get("minimum", 1))
