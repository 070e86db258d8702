"""The public names, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import langchain_kronvex

# What a package that langchain-core brings does on Python 3.14.
OF_LANGSMITH = "'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning"
HEAVY = ["torch", "sqlalchemy", "psycopg", "langchain", "langgraph", "openai", "transformers"]


def test_all_is_sorted_and_true() -> None:
    names = langchain_kronvex.__all__
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert not isinstance(getattr(langchain_kronvex, name), types.ModuleType)
    visible = {
        name
        for name, value in vars(langchain_kronvex).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert visible == set(names)


def test_a_star_import_gives_exactly_these() -> None:
    namespace: dict[str, object] = {}
    exec("from langchain_kronvex import *", namespace)
    namespace.pop("__builtins__")
    assert sorted(namespace) == langchain_kronvex.__all__


def test_every_public_name_says_what_it_is() -> None:
    for name in langchain_kronvex.__all__:
        assert getattr(langchain_kronvex, name).__doc__, name


def test_a_fresh_import_loads_nothing_heavy() -> None:
    script = (
        "import langchain_kronvex, sys, json; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    strict = ["-W", "error", "-W", f"ignore:{OF_LANGSMITH}"]
    loaded = set(json.loads(subprocess.check_output([sys.executable, *strict, "-c", script])))
    assert "langchain_kronvex" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_using_the_default_backend_loads_nothing_heavy_either() -> None:
    script = (
        "import sys, json; from langchain_kronvex import KronvexMemory\n"
        "with KronvexMemory('sqlite://') as memory:\n"
        "    memory.remember('tea', user_id='ana'); memory.recall('tea', user_id='ana')\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    loaded = set(json.loads(subprocess.check_output([sys.executable, "-c", script])))
    assert loaded.isdisjoint(HEAVY)
