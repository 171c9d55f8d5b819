"""What every writer of run directories shares."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info


def set_aside(path: Path) -> None:
    """Renames a file that an earlier run left in the same place, so that the new run's file holds its own alone.

    Args:
        path: ``metrics.csv`` becomes ``metrics.1.csv`` (or ``.2`` and so on); nothing happens if there is none.
    """
    if not path.exists():
        return
    older = next(
        candidate for n in count(1) if not (candidate := path.with_name(f"{path.stem}.{n}{path.suffix}")).exists()
    )
    path.rename(older)
    rank_zero_info(f"{path} was left by an earlier run; it is {older.name} now.")
