"""Namespaces, as LangGraph checks, lists and matches them. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from langgraph.store.base import InvalidNamespaceError, ListNamespacesOp, MatchCondition

from langchain_kronvex.core.errors import InvalidInput
from langchain_kronvex.core.validation import check_text
from langchain_kronvex.memory.namespaced_items import Namespace


def check_namespace(namespace: Iterable[object], *, may_be_empty: bool = False) -> Namespace:
    """Return a namespace as a tuple.

    Raises:
        InvalidNamespaceError: it is empty, or has a label that LangGraph does not allow.
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
    try:
        text = check_text(label, "A label of a namespace")
    except InvalidInput as error:
        raise InvalidNamespaceError(str(error)) from error
    if not text or "." in text:
        raise InvalidNamespaceError(
            f"A label of a namespace must not be empty or contain a period: {text!r}."
        )
    return text


def read(name: str) -> Namespace:
    """Return the namespace with a full name."""
    return tuple(label.replace("%2F", "/").replace("%25", "%") for label in name.split("/")[1:])


def is_under(namespace: Namespace, prefix: Namespace) -> bool:
    """Return whether a namespace equals the prefix or is nested in it."""
    return namespace[: len(prefix)] == prefix


def listed(namespaces: Iterable[Namespace], asked: ListNamespacesOp) -> list[Namespace]:
    """Return the namespaces that match, in alphabetical order.

    Raises:
        InvalidInput: a condition has an unknown type.
    """
    conditions = asked.match_conditions or ()
    cut = {n[: asked.max_depth] for n in namespaces if all(_fits(n, each) for each in conditions)}
    return sorted(cut)[asked.offset : asked.offset + asked.limit]


def certain_beginning(asked: ListNamespacesOp) -> Namespace:
    """Return the labels that all matching namespaces must begin with."""
    beginnings = [
        tuple(itertools.takewhile(lambda label: label != "*", condition.path))
        for condition in asked.match_conditions or ()
        if condition.match_type == "prefix"
    ]
    return max(beginnings, key=len, default=())


def _fits(namespace: Namespace, condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if condition.match_type not in ("prefix", "suffix"):
        raise InvalidInput(f"Namespaces match by prefix or suffix, not {condition.match_type!r}.")
    if len(path) > len(namespace):
        return False
    start = 0 if condition.match_type == "prefix" else len(namespace) - len(path)
    return all(part in ("*", label) for part, label in zip(path, namespace[start:], strict=False))
