"""Puts the databases of an opened world back to an earlier state. Imports ``appworld``: for subprocesses only."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

from appworld.apps.model_lib import ModelHashHandler
from appworld.collections.models import ModelCollection


class Snapshot:
    """The databases of a model collection as they are now, so that a world need not be opened again for another try.

    Args:
        models: The collection, in memory.
    """

    def __init__(self, models: ModelCollection) -> None:
        self._models = models
        self._saved: dict[str, tuple[sqlite3.Connection, list[Any], Counter[str]]] = {}
        models.reset_db_home_path()
        for app, classes in models.items():
            database = classes.SQLModel.db
            copy = sqlite3.connect(":memory:")
            database.connection.backup(copy)
            counts = Counter(ModelHashHandler.data[models.to_db_home_path][app])
            self._saved[app] = (copy, list(database.tracker.changes), counts)

    def restore(self) -> None:
        """Makes the databases, their change logs and their change counters what they were."""
        self._models.reset_db_home_path()
        for app, (copy, changes, counts) in self._saved.items():
            database = self._models[app].SQLModel.db
            if len(database.tracker.changes) != len(changes):
                copy.backup(database.connection)
                database.tracker.changes = list(changes)
            ModelHashHandler.data[self._models.to_db_home_path][app] = Counter(counts)

    def close(self) -> None:
        """Frees the copies."""
        for copy, _, _ in self._saved.values():
            copy.close()
