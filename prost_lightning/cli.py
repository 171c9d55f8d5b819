"""The one entry: ``python -m prost_lightning``.

``fit``, ``validate`` and ``test`` are LightningCLI's own (:mod:`prost_lightning.lightning_cli`), configured by YAML
files and ``--a.b=value`` overrides. The commands beside them are the functions of :mod:`prost_lightning.commands`,
their help taken from the docstrings.
"""

from __future__ import annotations

import errno
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Sequence

import docstring_parser

from prost_lightning.commands import COMMANDS
from prost_lightning.errors import UserError
from prost_lightning.parsing import OneSentenceParser

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
            run_lightning(given)
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
    if isinstance(error, UserError):
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


def run_lightning(arguments: Sequence[str] | None) -> None:
    """Runs one of :data:`LIGHTNING_COMMANDS`.

    Args:
        arguments: The command line; None for the process's own.

    Raises:
        UserError: Lightning finds its settings at odds with each other.
    """
    # Here, since PyTorch and Lightning take seconds to import, which the other commands can mostly do without.
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from prost_lightning.lightning_cli import lightning_cli

    try:
        lightning_cli(arguments, PROGRAM)
    except MisconfigurationException as error:
        raise UserError(str(error)) from error


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
