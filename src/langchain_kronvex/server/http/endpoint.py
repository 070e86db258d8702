"""How an endpoint is called: its request is read strictly, and it runs in a worker thread.

FastAPI chooses the endpoint and describes it in the OpenAPI document. Reading the request is done
here, because FastAPI's own way takes half as long as a recall: the models that the signature names
validate body and query parameters, once.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NoReturn, get_type_hints

from fastapi import APIRouter, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from langchain_kronvex.core.errors import KronvexError
from langchain_kronvex.core.validation import is_text
from langchain_kronvex.server.api.requests import Question
from langchain_kronvex.server.api.responses import JsonResponse, Problem
from langchain_kronvex.server.http.errors import ApiError, InvalidRequest, error_response
from langchain_kronvex.server.service import Service

_MOST_VALUES = 1 << 19  # as many as fit into 1 MiB
_BETWEEN_VALUES = (b",", b"[", b"{")
_TEXT = re.compile(rb'"[^"]*"?')
_NOTHING = (b"", b"{}", b"null")


class Endpoint(APIRoute):
    """A route to a function of any of `request`, `agent`, `body`, `query` and the ids in the path.

    `body` and `query` are annotated with the pydantic models that validate them; `agent` is the
    agent in the path, or else in the body, open until the function returns. The function returns
    the JSON of the response, None for 204, or a response with headers of its own. Unknown
    parameters and fields are rejected: they were meant to say whose memories, or which. A question
    reads an index in RAM, and writes nothing; it has threads of its own.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if options.get("status_code") == 204:
            options["response_model"] = None  # old versions take `-> None` for a model
        super().__init__(path, endpoint, **options)
        hints = get_type_hints(endpoint)
        self._names = [name for name in hints if name != "return"]
        self._body_model: type[BaseModel] | None = hints.get("body")
        self._query_model: type[BaseModel] | None = hints.get("query")
        self._recalls = issubclass(self._body_model or BaseModel, Question)
        self._reads_body = bool(self._body_model) or "DELETE" in (self.methods or ())
        self._is_strict = path.startswith(("/api/v1", "/auth"))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # 405
            return
        request = Request(scope, receive)
        try:
            content = await request.body() if self._reads_body else b""
            values = self._values(request, content)
            call = functools.partial(self._respond, request, values)
            response = await request.app.state.service.run(call, recalls=self._recalls)
        except (ApiError, KronvexError) as error:
            response = error_response(error)
        await response(scope, receive, send)

    def _respond(self, request: Request, values: dict[str, BaseModel]) -> Response:
        given = {**request.path_params, "request": request, **values}
        with ExitStack() as while_used:
            if "agent" in self._names:
                service: Service = request.app.state.service
                agent_id = given.get("agent_id") or given["body"].agent_id
                agent = service.use(request, agent_id, asks=self._recalls)
                given["agent"] = while_used.enter_context(agent)
            answer = self.endpoint(**{name: given[name] for name in self._names})
            if answer is None:
                return Response(status_code=204)
            if isinstance(answer, Response):
                return answer
            return JsonResponse(answer, self.status_code or 200)

    def _values(self, request: Request, content: bytes) -> dict[str, BaseModel]:
        values = {}
        if self._body_model is not None:
            given = read_json(content, request.headers.get("content-type", ""))
            values["body"] = _validated(self._body_model, given, "body")
        elif request.method == "DELETE" and content.strip() not in _NOTHING:
            raise InvalidRequest.of("body", "This takes no body; name ids as parameters.")
        if self._query_model is not None:
            given = dict(request.query_params)
            if len(given) < len(request.query_params.multi_items()):  # which of them counts?
                raise InvalidRequest.of("query", "A parameter is given more than once.")
            values["query"] = _validated(self._query_model, given, "query")
        elif request.query_params and self._is_strict:
            raise InvalidRequest.of("query", "This takes no parameters.")
        return values


PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The key is missing or invalid."},
    404: {"model": Problem, "description": "It does not exist, or belongs to another key."},
    413: {"model": Problem, "description": "The body is too large."},
    429: {"model": Problem, "description": "Too many requests; see Retry-After."},
    503: {"model": Problem, "description": "Try again later."},
}
# Only described here: the middleware checks the key before the router chooses an endpoint.
_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="kv-…; made by `keys create`.")


def guarded_router(tag: str, prefix: str = "/api/v1") -> APIRouter:
    """Return a router for endpoints that need a key."""
    described: Any = {"tags": [tag], "responses": PROBLEMS, "dependencies": [Security(_KEY)]}
    described["generate_unique_id_function"] = lambda route: route.name
    return APIRouter(prefix=prefix, route_class=Endpoint, **described)


def read_json(content: bytes, content_type: str) -> Any:
    """Return the JSON value of a body.

    Raises:
        InvalidRequest: the body is not JSON in UTF-8, is nested too deeply, or holds NaN, a number
            of thousands of digits, a name twice in one object, a NUL character or lone surrogate,
            or so many values that reading them would hold up all other requests.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not re.fullmatch(r"application/.*\+json", kind):
        raise InvalidRequest.of("body", "Send JSON, with Content-Type: application/json.")
    if not content:
        raise InvalidRequest.of("body", "Field required", "missing")
    try:
        if _values_in(content) > _MOST_VALUES:
            raise _NotJson(f"More than {_MOST_VALUES} values")
        text = content.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_reject, object_pairs_hook=_unique_names)
        if b"\\u" in content:  # anything else that is not text is not UTF-8
            _check_strings(value)
        return value  # noqa: TRY300
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at {error.pos}"
    except RecursionError:
        reason = "Nested too deeply"
    except ValueError as error:
        reason = str(error) if isinstance(error, _NotJson) else "Not UTF-8, or a number too long"
    raise InvalidRequest.of("body", f"JSON decode error: {reason}.", "json_invalid")


def _validated(model: type[BaseModel], given: Any, place: str) -> BaseModel:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        for each in found:
            if each["type"] == "extra_forbidden":
                each["msg"] = _hint(str(each["loc"][-1]), model)
        raise InvalidRequest({**each, "loc": (place, *each["loc"])} for each in found) from None


def _hint(unknown: str, model: type[BaseModel]) -> str:
    """Return the message for an unknown field, with the known one that looks like it, or all."""
    schema = model.model_json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    known = [name for each in objects for name in each.get("properties", ())]
    if near := difflib.get_close_matches(unknown, known, 1):
        return f"Unknown field. Did you mean {near[0]}?"
    return f"Unknown field. Known are {', '.join(known)}."


def _values_in(content: bytes) -> int:
    """Return about how many values a body holds: commas and opening brackets outside texts."""
    found = sum(map(content.count, _BETWEEN_VALUES))
    if found <= _MOST_VALUES:
        return found
    bare = _TEXT.sub(b"", content.replace(rb"\\", b"").replace(rb"\"", b""))
    return sum(map(bare.count, _BETWEEN_VALUES))


class _NotJson(ValueError):
    """A value that JSON does not have, or that this server rejects."""


def _check_strings(value: Any) -> None:
    """Reject a string that is not text, anywhere in a JSON value, keys included."""
    if isinstance(value, str):
        if "\0" in value:
            raise _NotJson("A text contains a NUL character; remove it")
        if not is_text(value):
            raise _NotJson("A text contains a lone surrogate, which is not a character")
    elif isinstance(value, dict | list):
        for each in value:
            _check_strings(each)
        if isinstance(value, dict):
            _check_strings(list(value.values()))


def _reject(constant: str) -> NoReturn:
    raise _NotJson(f"{constant} is not JSON")


def _unique_names(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise _NotJson("A name occurs twice in one object")
    return found
