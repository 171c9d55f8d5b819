"""Where fetched models and generated worlds are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "PROST_LIGHTNING_CACHE"


def cache_root() -> Path:
    """Directory of everything that can be made again: ``$PROST_LIGHTNING_CACHE``, else ``~/.cache/prost_lightning``."""
    configured = os.environ.get(CACHE_VARIABLE)
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "prost_lightning"
