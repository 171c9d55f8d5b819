"""Spares the engine work that it would do again and again. Imports ``appworld``: for subprocesses only.

A build opens hundreds of worlds in a process and judges each some five times. What is kept here depends on nothing that
differs between them.
"""

from __future__ import annotations

import ast
import gc
import sys
from contextlib import nullcontext
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import appworld.apps.api_lib
import appworld.collections.apis
import appworld.evaluator
import appworld.requester
from appworld import AppWorld
from appworld.apps import get_all_apps
from appworld.apps.api_lib import set_local_date_and_time
from appworld.common.safety_guard import SafetyGuard
from appworld.common.utils import GCThreshold, import_models_module
from appworld.requester import _get_api_name_to_doc
from IPython.core.magics.script import ScriptMagics

from prost_lightning.appworld.app_code import load_apps
from prost_lightning.cache import kept_json
from prost_lightning.miniworld.database_speed import spare_databases

# Looking its functions up takes longer than asking it.
_GUARD = SafetyGuard()
_GARBAGE = 500_000


def import_apps() -> None:
    """Imports all apps and what is known of their APIs, which takes some seconds; forks then have it."""
    # Nothing is thrown away here, and looking for it takes long.
    gc.disable()
    load_apps()
    for app in get_all_apps():
        for model in import_models_module(app).SQLModel.models():
            model.validator()  # It keeps the class that it derives.
    documents = kept_json(f"appworld-api-docs/{version('appworld')}-private.json", _documents)
    derive = appworld.requester._get_api_name_to_doc

    def documents_of(app: str, include_private_apis: bool = False) -> Any:
        return documents[app] if include_private_apis else derive(app)

    appworld.requester._get_api_name_to_doc = documents_of
    # An evaluation imports the task's evaluator, and Python's cache of that would lie beside it and carry the time.
    sys.dont_write_bytecode = True
    # What is there stays there; collecting garbage need not look at it again, nor copy its pages in each fork.
    gc.freeze()
    gc.enable()


def _documents() -> dict[str, Any]:
    """How each API is called, by app and name."""
    return {app: _get_api_name_to_doc(app, include_private_apis=True) for app in get_all_apps()}


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
    # Each world's shell would get commands for other programs' interpreters, with a parser for each.
    ScriptMagics._generate_script_magics = _nothing  # type: ignore[method-assign]
    # Python would look for garbage many times a second.
    GCThreshold.set(_GARBAGE)
    GCThreshold.set = GCThreshold.reset = _nothing
    spare_databases()


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


def spare_guard(guard: SafetyGuard) -> None:
    """Spares a world's guard what it would do with each execution of code that the generator itself has written.

    It still refuses what it finds unsafe in the code. What it would do besides, putting the functions that it forbids
    out of action and back each time, is left out.

    Args:
        guard: The guard of an opened world.
    """
    guard.is_syntax_safe = _is_syntax_safe
    guard.enable = guard.disable = _nothing


_VERDICTS: dict[str, tuple[bool, str]] = {}


def _is_syntax_safe(code: str) -> tuple[bool, str]:
    # The guard looks at imports and at names, so codes that differ in constants only are alike to it.
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
