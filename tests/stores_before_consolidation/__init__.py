"""Stores of the last commit without consolidation, and what must become of them.

`memory.db.gz` and `postgres.sql.gz` were made by `make.py` with the code of the commit `c0924a8`:

    PYTHONPATH=SOURCE/src:tests python -m tests.stores_before_consolidation.make
"""

from datetime import datetime, timezone

MADE_AT = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
