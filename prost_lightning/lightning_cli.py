"""``fit``, ``validate`` and ``test``: LightningCLI over our module and data module."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from prost_lightning.datamodules import SubtaskDataModule
from prost_lightning.files import set_aside
from prost_lightning.modules.role_module import RoleModule
from prost_lightning.parsing import OneSentenceParser


class OneSentenceLightningParser(OneSentenceParser, LightningArgumentParser):
    """LightningCLI's parser, with errors of one sentence."""


class SaveRunConfig(SaveConfigCallback):
    """Saves the full configuration of a training run as ``<run directory>/config.yaml`` and sends it to the logger.

    Unlike Lightning's own it writes beside the run's other files (not into one logger's directory), replaces the file
    of an earlier run in the same place, and lets W&B show the configuration of a sweep's runs. What ``validate`` and
    ``test`` are told is not the run's configuration.
    """

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Writes the file and logs the same settings as hyperparameters; called on rank zero only."""
        if stage != "fit":
            return
        directory = Path(trainer.default_root_dir)
        directory.mkdir(parents=True, exist_ok=True)
        config = self.config.clone()
        config.ckpt_path = None  # the file describes the whole run, of which this may be the end only
        self.parser.save(config, str(directory / self.config_filename), skip_none=False, overwrite=True)
        settings = config.as_dict()
        for logger in trainer.loggers:
            logger.log_hyperparams(
                {key: settings[key] for key in ("model", "data", "seed_everything") if key in settings}
            )


class ProstCLI(LightningCLI):
    """LightningCLI over our module and data module, with one place for what they share."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``run_dir`` and ``world`` for configs to interpolate, and links what module and data have in common."""
        parser.add_argument("--run_dir", type=str, default="runs/default", help="directory that receives the whole run")
        parser.add_argument(
            "--world",
            type=str,
            default="worlds/mini",
            help="root of the AppWorld data, or `official`; for `${world}` in configs",
        )
        parser.link_arguments("model.base_model", "data.base_model")
        parser.link_arguments("model.roles", "data.roles")

    def before_fit(self) -> None:
        """Keeps the figures that an earlier run, or the part of this one before a kill, left in the same place."""
        for logger in self.trainer.loggers:
            if isinstance(logger, CSVLogger):
                # Lightning's logger deletes the file when it is first used, and warns of that even where there is none.
                if self.trainer.is_global_zero:
                    set_aside(Path(logger.log_dir) / "metrics.csv")
                warnings.filterwarnings("ignore", "Experiment logs directory .* exists and is not empty")

    before_validate = before_test = before_fit

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's commands that mean something here (``predict`` does not)."""
        every = LightningCLI.subcommands()
        return {name: every[name] for name in ("fit", "validate", "test")}


def lightning_cli(arguments: Sequence[str] | None, program: str) -> LightningCLI:
    """Parses and runs ``fit``, ``validate`` or ``test``.

    Args:
        arguments: The command line after the program; None for the process's own.
        program: How the program is called, for ``--help``.
    """
    # What callbacks log for the first process is the same on all of them.
    warnings.filterwarnings("ignore", r"It is recommended to use `self.log\('(curriculum|efficiency|eval)/")
    # Without this, overrides of the command line do not reach the interpolations of the config files.
    jsonargparse.set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    return ProstCLI(
        RoleModule,
        SubtaskDataModule,
        save_config_callback=SaveRunConfig,
        save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
        seed_everything_default=7,
        trainer_defaults={"use_distributed_sampler": False, "reload_dataloaders_every_n_epochs": 1},
        parser_kwargs={"parser_mode": "omegaconf+", "prog": program},
        parser_class=OneSentenceLightningParser,
        auto_configure_optimizers=False,
        args=None if arguments is None else list(arguments),
    )
