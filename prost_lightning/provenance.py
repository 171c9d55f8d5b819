"""Where a figure comes from: the code, the command and the machine behind it."""

from __future__ import annotations

import hashlib
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


@cache
def code_version() -> str:
    """Version of this code: the package version, with the git commit where it runs from a checkout.

    Returns:
        As ``0.1.0+g1a2b3c4`` (``.dirty`` appended when tracked files were changed).
    """
    try:
        package = version("prost-lightning")
    except PackageNotFoundError:
        package = "0+unknown"
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return package
    try:
        commit = _git(checkout, "rev-parse", "--short", "HEAD")
        dirty = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return package
    return f"{package}+g{commit}{'.dirty' if dirty else ''}"


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(checkout), *arguments], check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()


def weights_digest(module: torch.nn.Module) -> str:
    """Tells two states of a model's trained weights apart.

    Args:
        module: Its trainable parameters count, on any device.

    Returns:
        16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        if parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def command_line() -> str:
    """The command of this process, ready to be pasted into a shell."""
    program = Path(sys.argv[0])
    start = ["python", "-m", "prost_lightning"] if program.name == "__main__.py" else [program.name]
    return shlex.join([*start, *sys.argv[1:]])


def provenance() -> dict[str, str]:
    """What every reported figure carries: code version, command, Python and machine."""
    return {
        "code_version": code_version(),
        "command": command_line(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
