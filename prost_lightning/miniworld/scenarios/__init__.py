"""The scenario templates of the generated world: every module below that declares some is found by itself."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from prost_lightning.miniworld.scenarios.base import Draft, Template

TEMPLATES: tuple[Template, ...] = tuple(
    declared
    for module in sorted(module.name for module in iter_modules(__path__))
    for declared in vars(import_module(f"{__name__}.{module}")).values()
    if isinstance(declared, Template)
)

__all__ = ["TEMPLATES", "Draft", "Template"]
