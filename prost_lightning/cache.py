"""Where fetched models and generated worlds are kept between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CACHE_VARIABLE = "PROST_LIGHTNING_CACHE"


def cache_root() -> Path:
    """Directory of everything that can be made again: ``$PROST_LIGHTNING_CACHE``, else ``~/.cache/prost_lightning``."""
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "prost_lightning"


def kept_json(name: str, derive: Callable[[], Any]) -> Any:
    """What takes long to derive and never changes; derived once and kept. Several processes may ask at the same time.

    Args:
        name: Its file below :func:`cache_root`; it must name all that the content depends on.
        derive: Returns the content, as plain data.

    Returns:
        The content, as it is read back from the file.
    """
    kept = cache_root() / name
    if not kept.is_file():
        content = json.dumps(derive())
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.part")
        part.write_text(content)
        part.rename(kept)
    return json.loads(kept.read_text())
