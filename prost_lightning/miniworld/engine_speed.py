"""Spares the engine work that it would do again and again. Imports ``appworld``: for subprocesses only.

A build opens hundreds of worlds in a process and judges each some five times. What is kept here depends on nothing that
differs between them.
"""

from __future__ import annotations

import ast
import gc
import json
import os
from contextlib import nullcontext
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import appworld.apps.api_lib
import appworld.apps.model_lib
import appworld.collections.apis
import appworld.evaluator
import appworld.requester
from appworld import AppWorld
from appworld.apps import build_main_app, get_all_apps
from appworld.apps.api_lib import set_local_date_and_time
from appworld.apps.model_lib import Database, SQLModel, create_engine
from appworld.common.safety_guard import SafetyGuard
from appworld.common.utils import GCThreshold, get_name_to_apis, import_models_module
from appworld.requester import _get_api_name_to_doc
from sqlalchemy.orm import configure_mappers
from sqlalchemy.util import LRUCache

from prost_lightning.cache import cache_root

# Looking its functions up takes longer than asking it.
_GUARD = SafetyGuard()
_STATEMENTS = 5_000
_GARBAGE = 500_000


def import_apps() -> None:
    """Imports all apps and what is known of their APIs, which takes some seconds; forks then have it."""
    # Nothing is thrown away here, and looking for it takes long.
    gc.disable()
    for app in get_all_apps():
        get_name_to_apis(app, ignore_private_apis=True)
        for model in import_models_module(app).SQLModel.models():
            model.validator()  # It keeps the class that it derives.
    documents = _documents()
    derive = appworld.requester._get_api_name_to_doc

    def documents_of(app: str, include_private_apis: bool = False) -> Any:
        return documents[app] if include_private_apis else derive(app)

    appworld.requester._get_api_name_to_doc = documents_of
    build_once = cache(build_main_app)
    build_once(tuple(sorted(get_all_apps())))
    appworld.requester.build_main_app = build_once
    configure_mappers()
    # What is there stays there; collecting garbage need not look at it again, nor copy its pages in each fork.
    gc.freeze()
    gc.enable()


def _documents() -> dict[str, Any]:
    """How each API is called, by app and name; deriving it takes long, so it is kept, by AppWorld's version."""
    kept = cache_root() / "appworld-api-docs" / f"{version('appworld')}-private.json"
    if not kept.is_file():
        derived = {app: _get_api_name_to_doc(app, include_private_apis=True) for app in get_all_apps()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(derived))
        part.rename(kept)
    documents: dict[str, Any] = json.loads(kept.read_text())
    return documents


@cache
def keep_what_stays() -> None:
    """Lets this process's engine remember what stays as it is, and leave out what nobody reads.

    All worlds that it opens from now on must be of one moment.
    """
    # A failed requirement's traceback would be typeset, which takes longer than all the rest of an evaluation.
    appworld.evaluator.build_fail_trace = str
    # Each request would freeze the clock, which stands still already.
    appworld.collections.apis.freeze_time = nullcontext
    for module in (appworld.apps.api_lib, appworld.requester):
        module.set_local_date_and_time = _stop_clock
    # Opening a world would close all others, which drops what was loaded for this one; each is closed when it is done.
    AppWorld.close_all = _nothing
    # Python would look for garbage many times a second.
    GCThreshold.set(_GARBAGE)
    GCThreshold.set = GCThreshold.reset = _nothing
    _keep_databases()


def _nothing(*_: Any) -> None:
    pass


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

    find = SQLModel.by_ids.__func__

    def by_ids(cls: Any, /, ids: Any, **kwargs: Any) -> Any:
        return find(cls, ids, **kwargs) if ids else []

    SQLModel.by_ids = classmethod(by_ids)


_VERDICTS: dict[str, tuple[bool, str]] = {}


def is_syntax_safe(code: str) -> tuple[bool, str]:
    """The guard's own check; it looks at imports and at names, so codes that differ in constants only are alike to it.

    Args:
        code: What is to be executed.

    Returns:
        Whether the guard lets it pass, and what it says.
    """
    try:
        shape = ast.dump(_WithoutConstants().visit(ast.parse(code)))
    except SyntaxError:
        shape = code
    if shape not in _VERDICTS:
        _VERDICTS[shape] = _GUARD.is_syntax_safe(code)
    return _VERDICTS[shape]


class _WithoutConstants(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant(type(node.value).__name__)
