"""Spares the engine work that it would do again and again. Imports ``appworld``: for subprocesses only.

A build opens hundreds of worlds in a process and judges each some five times. What is kept here depends on nothing that
differs between them.
"""

from __future__ import annotations

import gc
from contextlib import nullcontext
from datetime import datetime
from functools import cache
from typing import Any

import appworld.apps.api_lib
import appworld.apps.model_lib
import appworld.collections.apis
import appworld.evaluator
import appworld.requester
from appworld.apps import build_main_app, get_all_apps
from appworld.apps.api_lib import set_local_date_and_time
from appworld.apps.model_lib import Database, SQLModel, create_engine
from appworld.common.safety_guard import SafetyGuard
from appworld.requester import _get_api_name_to_doc
from sqlalchemy.util import LRUCache

# Looking its functions up takes longer than asking it.
_GUARD = SafetyGuard()
_STATEMENTS = 5_000


def import_apps() -> None:
    """Imports all apps and derives how their APIs are called, which takes some ten seconds; forks then have it."""
    for app in get_all_apps():
        _get_api_name_to_doc(app, include_private_apis=True)
    # What is there stays there; collecting garbage need not look at it again, nor copy its pages in each fork.
    gc.freeze()


@cache
def keep_what_stays() -> None:
    """Lets this process's engine remember what stays as it is, and leave out what nobody reads.

    All worlds that it opens from now on must be of one moment.
    """
    appworld.requester.build_main_app = cache(build_main_app)
    # A failed requirement's traceback would be typeset, which takes longer than all the rest of an evaluation.
    appworld.evaluator.build_fail_trace = str
    # Each request would freeze the clock, which stands still already.
    appworld.collections.apis.freeze_time = nullcontext
    for module in (appworld.apps.api_lib, appworld.requester):
        module.set_local_date_and_time = _stop_clock
    _keep_databases()


class _Clock:
    """What is given for a stopped clock: it does not go on when one of many worlds is closed."""

    def stop(self) -> None:
        pass


@cache
def _stop_clock(moment: datetime) -> _Clock:
    set_local_date_and_time(moment)
    return _Clock()


def _keep_databases() -> None:
    # Asked for each time that an app's models turn from one database to another.
    derive = Database._get_engine_to_details

    def details_of(engine: Any) -> Any:
        if not hasattr(engine, "details"):
            engine.details = derive(engine)
        return engine.details

    Database._get_engine_to_details = staticmethod(details_of)

    # Each world has databases of its own, all of one kind; a statement is compiled for the kind.
    statements = LRUCache(_STATEMENTS)
    dialects: list[Any] = []

    def create_alike(*args: Any, **kwargs: Any) -> Any:
        engine = create_engine(*args, **kwargs)
        if not dialects:
            engine.connect().close()
            dialects.append(engine.dialect)
        engine.dialect, engine._compiled_cache = dialects[0], statements
        return engine

    appworld.apps.model_lib.create_engine = create_alike

    find = SQLModel.by_ids.__func__

    def by_ids(cls: Any, ids: Any, **kwargs: Any) -> Any:
        return find(cls, ids, **kwargs) if ids else []

    SQLModel.by_ids = classmethod(by_ids)


@cache
def is_syntax_safe(code: str) -> tuple[bool, str]:
    """The guard's own check; several ways to play a task share most of their code.

    Args:
        code: What is to be executed.

    Returns:
        Whether the guard lets it pass, and what it says.
    """
    verdict: tuple[bool, str] = _GUARD.is_syntax_safe(code)
    return verdict
