"""Namespaces: paths of labels, each written as the one name of an owner. Pure functions.

`("users", "ana")` is written `/users/ana`; a slash inside a label is escaped, so no two namespaces
have one name, and the namespaces under another are those whose names begin with its name and a
slash. A name too long for the index of a store is kept as a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langgraph.store.base import InvalidNamespaceError, ListNamespacesOp, MatchCondition

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import DIGESTED, short_name

Namespace = tuple[str, ...]
LONG = DIGESTED  # with which the names of long namespaces begin


def check_namespace(namespace: Iterable[object], *, may_be_empty: bool = False) -> Namespace:
    """Return a namespace as a tuple.

    Raises:
        InvalidNamespaceError: it has no label, or one that LangGraph does not allow.
    """
    if isinstance(namespace, str):
        raise InvalidNamespaceError(
            f"A namespace is a tuple of strings, such as ({namespace!r},), not a string."
        )
    labels = tuple(_check_label(label) for label in namespace)
    if not labels and not may_be_empty:
        raise InvalidNamespaceError("A namespace needs at least one label.")
    return labels


def _check_label(label: object) -> str:
    if not isinstance(label, str):
        raise InvalidNamespaceError(
            f"The labels of a namespace must be strings; {type(label).__name__} is none."
        )
    if not label or "." in label or "\0" in label:
        raise InvalidNamespaceError(
            f"A label of a namespace must hold at least one character, and no period or NUL; "
            f"{label!r} does not fit."
        )
    try:
        label.encode()
    except UnicodeEncodeError as error:
        raise InvalidNamespaceError(
            f"A label of a namespace holds a lone surrogate, which is no Unicode text: {label!r}."
        ) from error
    return label


def written(namespace: Namespace) -> str:
    """Return the whole name of a namespace; "" for the one above all."""
    return "".join(f"/{_escaped(label)}" for label in namespace)


def owner_of(namespace: Namespace) -> str:
    """Return the name under which a namespace is stored."""
    return short_name(written(namespace))


def read(name: str) -> Namespace:
    """Return the namespace of a whole name."""
    return tuple(label.replace("%2F", "/").replace("%25", "%") for label in name.split("/")[1:])


def _escaped(label: str) -> str:
    return label.replace("%", "%25").replace("/", "%2F")


def is_under(namespace: Namespace, prefix: Namespace) -> bool:
    """Tell whether a namespace is the prefix or lies under it."""
    return namespace[: len(prefix)] == prefix


def listed(namespaces: Iterable[Namespace], asked: ListNamespacesOp) -> list[Namespace]:
    """Return the namespaces that were asked for, in alphabetical order.

    Raises:
        InvalidInput: there is no such condition.
    """
    conditions = asked.match_conditions or ()
    fitting = [n for n in namespaces if all(_fits(n, condition) for condition in conditions)]
    cut = {namespace[: asked.max_depth] for namespace in fitting}
    return sorted(cut)[asked.offset : asked.offset + asked.limit]


def certain_beginning(asked: ListNamespacesOp) -> Namespace:
    """Return the labels with which every namespace that was asked for begins."""
    beginnings = [
        _without_wildcards(condition.path)
        for condition in asked.match_conditions or ()
        if condition.match_type == "prefix"
    ]
    return max(beginnings, key=len, default=())


def _without_wildcards(path: Sequence[str]) -> Namespace:
    return tuple(path[: path.index("*")] if "*" in path else path)


def _fits(namespace: Namespace, condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if condition.match_type not in ("prefix", "suffix"):
        raise InvalidInput(f"Namespaces match by prefix or suffix, not {condition.match_type!r}.")
    if len(path) > len(namespace):
        return False
    if condition.match_type == "prefix":
        labels = namespace[: len(path)]
    else:
        labels = namespace[len(namespace) - len(path) :]
    return all(part in ("*", label) for part, label in zip(path, labels, strict=True))
