"""How training data comes about; ``tests/test_main_job.py`` lets it make some."""

from __future__ import annotations

from pathlib import Path

import pytest

from prost_lightning.datamodules import OracleTrajectories
from prost_lightning.errors import UserError


def test_the_oracle_does_not_play_official_data(tmp_path: Path) -> None:
    (tmp_path / "data" / "datasets").mkdir(parents=True)
    for root in ("official", str(tmp_path)):
        with pytest.raises(UserError, match="generated worlds only"):
            OracleTrajectories(root).run(tmp_path / "made" / "trajectories.jsonl")
    assert not (tmp_path / "made").exists()
