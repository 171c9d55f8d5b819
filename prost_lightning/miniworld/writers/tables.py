"""Saves rows through the apps' own models."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text as sql
from sqlalchemy.orm import Session

from prost_lightning.miniworld.dates import NOW

Row = dict[str, Any]


SEARCH = "search text"
"""Key of a row whose search text follows from other rows, and so must be given."""


class Tables:
    """The tables of one app.

    Going through the models' own ``save`` would take minutes, since each row is looked up, validated and indexed by
    itself. Here whole tables are inserted; what ``save`` derives is derived here or by the writers, and
    ``tests/miniworld/test_databases.py`` checks with the models' own code that nothing is missing or different.

    Args:
        models: The app's models, by name.
    """

    def __init__(self, models: Any) -> None:
        self.models = models

    def save(self, model: str, rows: list[Row]) -> None:
        """Fills an empty table; its rows get the ids 1, 2, ...

        Args:
            model: Name of the table's model.
            rows: Its fields, without ids; with :data:`SEARCH` where the search text follows from other tables.
        """
        table = getattr(self.models, model)
        texts: list[dict[str, Any]] = []
        records = []
        # A value or default may be a whole number, but the database gives back a fraction, whose hash is another.
        fractions = {name: field.default for name, field in table.__fields__.items() if _is_fraction(field.type_)}
        for number, row in enumerate(rows, start=1):
            fields = {name: value for name, value in row.items() if name != SEARCH}
            for name, default in fractions.items():
                value = fields.get(name, default)
                if value is not None:
                    fields[name] = float(value)
            record = table(id=number, **fields)
            record.set_record_hash()
            records.append(record)
            if table.searchable():
                text = row.get(SEARCH) or record.computed_search_text
                texts.append({"id": number, "text": " ".join(text.lower().split())})
        with Session(table.db.engine) as session:
            session.bulk_save_objects(records)
            if texts:
                index = f"INSERT INTO {table.table_name}_fts (id, saved_search_text) VALUES (:id, :text)"
                session.connection().execute(sql(index), texts)
            session.commit()


def _is_fraction(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, float)


def ago(days: int, minutes: int = 0) -> datetime:
    """A moment before the present one."""
    return NOW - timedelta(days=days, minutes=minutes)


def midnight(day: date) -> datetime:
    """The moment at which a day begins."""
    return datetime(day.year, day.month, day.day)


def stamped(created_at: datetime) -> Row:
    """The two times of a row that was never changed."""
    return {"created_at": created_at, "updated_at": created_at}
