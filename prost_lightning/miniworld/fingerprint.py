"""Which generator makes a world: part of a world's identity and of the place where it is cached."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

DIGITS = 8


@cache
def generator_fingerprint() -> str:
    """Fingerprint of the generator's own source and of the AppWorld version that it writes for.

    Returns:
        Hexadecimal digits that change with any change of the generator, so that a cached world is never stale.
    """
    digest = hashlib.sha256(version("appworld").encode())
    package = Path(__file__).parent
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:DIGITS]


def data_fingerprint(data: Path) -> str:
    """Fingerprint of all files below a directory, by name and content; Python's ``__pycache__`` does not count.

    Args:
        data: The directory.

    Returns:
        Hexadecimal digits, equal for byte-identical directories.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in data.rglob("*") if path.is_file() and path.parent.name != "__pycache__"):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(data).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:DIGITS]
