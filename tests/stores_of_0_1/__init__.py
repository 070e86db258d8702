"""Stores that version 0.1 wrote, and the tests that today's code opens them without any loss.

The files were made once, by the code of the commit `a9d79b0`, and are not made anew: what matters
is that they are old. `make.py` is the program that made them. It runs in a checkout of that commit
(this folder copied into its `tests`), with the dependencies of the tests installed:

    python -m tests.stores_of_0_1.make

| file | what it holds |
|---|---|
| `memory.db.gz` | a SQLite store: memories of several users, a pinned one, expiring ones, chat \
messages, key-value items, LangGraph items, and an agent whose reindexing was broken off |
| `postgres.sql.gz` | the same as a dump of PostgreSQL (`pg_dump --inserts`) |
| `outbox.db.gz` | an outbox with entries that wait and one that was set aside |
| `export.jsonl` | an export of the SQLite store's agent `default`, with vectors |
| `contents.json` | all that the old code read from them |
"""
