"""What all benchmarks share: a table on the screen and, with ``--json FILE``, the same figures with their origin."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from prost_lightning.provenance import provenance

_PACKAGES = ("torch", "lightning", "transformers", "peft", "bitsandbytes", "appworld", "trl", "liger-kernel")


def argument_parser(description: str) -> argparse.ArgumentParser:
    """A parser that has ``--json FILE`` already.

    Args:
        description: What the benchmark measures; the module's docstring.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures, with machine and versions")
    return parser


def machine() -> dict[str, Any]:
    """The machine, the versions of the packages that matter, and the command: what a figure has to name."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": versions,
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
    }


def report(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    json_path: Path | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Prints a table, and writes it as JSON where asked to.

    Args:
        title: What was measured.
        rows: One mapping a row; the keys of the first are the columns, in order.
        json_path: Where the figures go besides; None for nowhere.
        notes: Sentences below the table, such as a bar and whether it holds.
    """
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_shown(row.get(column)) for column in rows[0]))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        figures = {"title": title, "rows": list(rows), "notes": list(notes), **machine(), "provenance": provenance()}
        json_path.write_text(json.dumps(figures, indent=2) + "\n")
        console.print(f"Written: {json_path}", highlight=False)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
