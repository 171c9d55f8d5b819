"""The commands beside LightningCLI's own. Each function is one command; its docstring is its help."""

from __future__ import annotations

from collections.abc import Callable

from prost_lightning.commands.compare import pareto
from prost_lightning.commands.data import data_show, data_stats
from prost_lightning.commands.episodes import collect, evaluate, replay
from prost_lightning.commands.official import export_appworld, world_download
from prost_lightning.commands.world import world_build, world_show, world_stats, world_verify

COMMANDS: dict[str, Callable[..., None]] = {
    "world build": world_build,
    "world show": world_show,
    "world stats": world_stats,
    "world verify": world_verify,
    "world download": world_download,
    "data show": data_show,
    "data stats": data_stats,
    "collect": collect,
    "evaluate": evaluate,
    "replay": replay,
    "export-appworld": export_appworld,
    "pareto": pareto,
}
