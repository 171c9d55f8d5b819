"""Spares AppWorld's models work that they would do with each row. Imports ``appworld``: for subprocesses only.

What the models find and write stays the same; statements are made and compiled once instead of each time.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import appworld.apps.model_lib
from appworld.apps.model_lib import Database, SQLModel, create_engine, select
from appworld.common.datetime import DateTime, SqlalchemyDateTimeProcessor
from sqlalchemy import bindparam, func
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.util import LRUCache
from sqlmodel import Session

_STATEMENTS = 5_000
_MOMENTS = 100_000


def spare_databases() -> None:
    """Lets the models of this process use again what does not depend on the rows."""
    # Asked for each time that an app's models turn from one database to another.
    derive = Database._get_engine_to_details

    def details_of(engine: Any) -> Any:
        if not hasattr(engine, "details"):
            engine.details = derive(engine)
        return engine.details

    Database._get_engine_to_details = staticmethod(details_of)

    # Each world has databases of its own, all of one kind; a statement is compiled for the kind.
    statements: Any = LRUCache(_STATEMENTS)
    dialects: list[Any] = []

    def create_alike(*args: Any, **kwargs: Any) -> Any:
        engine = create_engine(*args, **kwargs)
        if not dialects:
            engine.connect().close()
            dialects.append(engine.dialect)
        engine.dialect, engine._compiled_cache = dialects[0], statements
        return engine

    appworld.apps.model_lib.create_engine = create_alike
    appworld.apps.model_lib.select = _select
    SQLModel.by_id = classmethod(_by_id)
    SQLModel.size = classmethod(_size)
    find = SQLModel.by_ids.__func__

    def by_ids(cls: Any, /, ids: Any, **kwargs: Any) -> Any:
        return find(cls, ids, **kwargs) if ids else []

    SQLModel.by_ids = classmethod(by_ids)
    SqlalchemyDateTimeProcessor.process_result_value = lambda self, impl, value, dialect: _moment(value)


_select_once = cache(select)


def _select(*what: Any) -> Any:
    """SQLModel's ``select``; one of a table or of its columns is made once, for statements never change."""
    if all(isinstance(part, type | InstrumentedAttribute) for part in what):
        return _select_once(*what)
    return select(*what)


@cache
def _one(model: Any) -> Any:
    return select(model).where(model.id == bindparam("id"))


def _by_id(cls: Any, id: int) -> Any:
    with Session(cls.db.engine) as session:
        record = session.execute(_one(cls), {"id": id}).scalars().first()
    if record is not None:
        record.set_db_home_path()
    return record


@cache
def _number(model: Any) -> Any:
    return select(func.count(model.id))


def _size(cls: Any) -> int:
    with Session(cls.db.engine) as session:
        return int(session.exec(_number(cls)).one())


@lru_cache(_MOMENTS)
def _moment(value: datetime | None) -> Any:
    return DateTime.parse(value.isoformat()) if value else value
