"""The one entry: ``python -m prost_lightning``.

``fit``, ``validate`` and ``test`` are LightningCLI's own, configured by YAML files and ``--a.b=value`` overrides; the
commands beside them are the functions of :mod:`prost_lightning.commands`, their help taken from the docstrings.
"""

from __future__ import annotations

import errno
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import jsonargparse
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from prost_lightning.commands import COMMANDS
from prost_lightning.errors import UserError
from prost_lightning.files import set_aside
from prost_lightning.parsing import OneSentenceLightningParser, OneSentenceParser

PROGRAM = "python -m prost_lightning"

LIGHTNING_COMMANDS = {
    "fit": "train the roles of a team (LightningCLI: YAML files and --a.b=value overrides)",
    "validate": "validation loss of a checkpoint",
    "test": "test loss of a checkpoint",
}

HELP = f"""\
usage: {PROGRAM} COMMAND ...

Train teams of small language models sub-task by sub-task, and see what each team costs.

commands:
{{commands}}

`{PROGRAM} COMMAND --help` explains each. A first run:

  {PROGRAM} fit --config configs/quickstart.yaml
"""


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
        return {name: every[name] for name in LIGHTNING_COMMANDS}


def lightning_cli(arguments: Sequence[str] | None) -> LightningCLI:
    """Parses and runs ``fit``, ``validate`` or ``test``.

    Args:
        arguments: The command line after ``python -m prost_lightning``; None for the process's own.
    """
    from prost_lightning.datamodules import SubtaskDataModule
    from prost_lightning.modules.role_module import RoleModule

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
        parser_kwargs={"parser_mode": "omegaconf+", "prog": PROGRAM},
        parser_class=OneSentenceLightningParser,
        auto_configure_optimizers=False,
        args=None if arguments is None else list(arguments),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The command line; by default the process's own.

    Returns:
        The exit code: 0 when done, 2 when the user has something to put right (one sentence on stderr says what),
        130 when interrupted.
    """
    # On CPUs with AVX512-BF16 it reports that an optional package is absent, which changes nothing here.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # What libraries will change in each other's use of them is news for their developers and ours, not for who trains.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|transformers|lightning|peft)\.")
    given = arguments
    arguments = list(sys.argv[1:] if given is None else given)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP.format(commands=_command_list()))
        return 0
    try:
        if arguments[0] in LIGHTNING_COMMANDS:
            lightning_cli(given)
        else:
            run_command(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's trainer catches it and exits with code 1
            return 130
        raise
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
        return 2
    return 0


def _sentence(error: Exception) -> str | None:
    """What the user has to put right; None for an error that is none of the user's."""
    if isinstance(error, UserError | MisconfigurationException):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        if error.errno == errno.ENOSPC:
            return f"{place}the disk is full; free some space and run the command again."
        if place:
            return f"{place}{error.strerror}; name another path, or put this one right."
        return str(error) if isinstance(error, FileNotFoundError) else None
    if type(error).__module__.partition(".")[0] == "wandb":
        return f"W&B: {error} (or set `offline: true` for the WandbLogger)."
    return None


def run_command(arguments: Sequence[str]) -> None:
    """Parses the arguments of one of :data:`prost_lightning.commands.COMMANDS` by its signature, and calls it.

    Args:
        arguments: The command line, the command's name of one or two words first.

    Raises:
        UserError: There is no such command.
    """
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            break
    else:
        known = ", ".join([*LIGHTNING_COMMANDS, *COMMANDS])
        raise UserError(f"unknown command '{name}'; choose one of: {known}.")
    function = COMMANDS[name]
    description = docstring_parser.parse(function.__doc__ or "")
    parser = OneSentenceParser(prog=f"{PROGRAM} {name}", description=description.description)
    many = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is p.VAR_POSITIONAL]
    for parameter in many:
        explained = {entry.arg_name: entry.description for entry in description.params}
        parser.add_argument(
            parameter.name, nargs="+", type=parameter.annotation, help=explained.get(parameter.name, "")
        )
    parser.add_function_arguments(function, as_group=False, as_positional=False)
    settings = parser.instantiate_classes(parser.parse_args(list(arguments[words:])))
    positional = [item for parameter in many for item in settings.pop(parameter.name)]
    function(*positional, **settings.as_dict())


def _command_list() -> str:
    rows = LIGHTNING_COMMANDS | {name: _first_line(function) for name, function in COMMANDS.items()}
    return "\n".join(f"  {name:<12} {text}" for name, text in rows.items())


def _first_line(function: Callable[..., None]) -> str:
    text = (function.__doc__ or "").partition("\n")[0].rstrip(".")
    return text[:1].lower() + text[1:]
