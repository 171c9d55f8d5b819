"""Database ids, handed out in the order in which rows are written."""

from __future__ import annotations

from collections import Counter


class Ids:
    """Counts the rows of every table, from 1 as the databases do."""

    def __init__(self) -> None:
        self._last: Counter[str] = Counter()

    def next(self, table: str) -> int:
        """The id of a table's next row; the writer must save the rows in this order."""
        self._last[table] += 1
        return self._last[table]
