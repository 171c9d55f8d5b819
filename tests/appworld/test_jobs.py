from __future__ import annotations

import json
from pathlib import Path

import pytest

from prost_lightning.appworld.jobs import check_saved_changes


def _write(directory: Path, statement: object) -> Path:
    path = directory / "spotify.jsonl"
    path.write_text(json.dumps([statement, [], False]) + "\n")
    return path


def test_saved_changes_are_changes_of_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no state"):
        check_saved_changes(tmp_path)
    _write(tmp_path, "UPDATE songs SET like_count=?")
    check_saved_changes(tmp_path)
    _write(tmp_path, "ATTACH DATABASE '/etc/passwd' AS x")
    with pytest.raises(ValueError, match=r"spotify\.jsonl:1"):
        check_saved_changes(tmp_path)


def test_saved_changes_are_no_links(tmp_path: Path) -> None:
    (tmp_path / "dbs").mkdir()
    (tmp_path / "dbs" / "spotify.jsonl").symlink_to(_write(tmp_path, "INSERT INTO songs"))
    with pytest.raises(ValueError, match="plain file"):
        check_saved_changes(tmp_path / "dbs")
