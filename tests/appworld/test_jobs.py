from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prost_lightning.appworld.jobs import check_saved_changes, truncate


@given(st.text(max_size=400), st.integers(min_value=1, max_value=300))
def test_truncation_keeps_the_limit_the_beginning_and_the_end(text: str, limit: int) -> None:
    shown = truncate(text, limit)
    assert len(shown) <= limit
    if len(text) <= limit:
        assert shown == text
    elif limit >= 100:
        assert shown.startswith(text[:20])
        assert shown.endswith(text[-10:])
        assert str(len(text)) in shown


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
