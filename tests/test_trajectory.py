from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prost_lightning.errors import UserError
from prost_lightning.trajectory import (
    Trajectory,
    append_trajectory,
    encode,
    read_trajectories,
    write_trajectories,
)

MakeTrajectory = Callable[..., Trajectory]


def test_what_is_written_is_read_again(make_trajectory: MakeTrajectory, tmp_path: Path) -> None:
    file = tmp_path / "new" / "trajectories.jsonl"
    trajectories = [make_trajectory(n) for n in (1, 3)]

    assert write_trajectories(file, trajectories[:1]) == 1
    append_trajectory(file, trajectories[1])

    assert read_trajectories(file) == trajectories
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_empty_lines_are_no_trajectories(make_trajectory: MakeTrajectory, tmp_path: Path) -> None:
    file = tmp_path / "trajectories.jsonl"
    file.write_bytes(b"\n" + encode(make_trajectory(1)) + b"  \n")
    assert len(read_trajectories(file)) == 1


def test_episodes_from_before_sub_tasks_were_checked_are_read(make_trajectory: MakeTrajectory, tmp_path: Path) -> None:
    line = json.loads(encode(make_trajectory(1)))
    del line["outcome"]["sub_tasks"]
    file = tmp_path / "trajectories.jsonl"
    file.write_text(json.dumps(line))
    assert read_trajectories(file)[0].outcome.sub_tasks == []


def _broken(trajectory: Trajectory, how: str) -> bytes:
    line = json.loads(encode(trajectory))
    if how == "type":
        line["conversations"][1]["messages"][0]["content"] = 5
    elif how == "missing":
        del line["task_id"]
    elif how == "unknown":
        line["conversations"][0]["colour"] = "blue"
    elif how == "version":
        line["schema_version"] = 99
    elif how == "gap":
        line["sub_tasks"][0]["position"] = 2
    elif how == "position":
        line["conversations"][0]["messages"][2]["position"] = 9
    elif how == "torn":
        return encode(trajectory)[:100]
    return json.dumps(line).encode()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("type", r"\$\.conversations\[1\]\.messages\[0\]\.content"),
        ("missing", "task_id"),
        ("unknown", r"colour.*\$\.conversations\[0\]"),
        ("version", "schema_version is 99"),
        ("gap", "positions 1..2"),
        ("position", "position 9, outside 1..2"),
        ("torn", "malformed"),
    ],
)
def test_a_bad_line_is_named_with_file_line_and_place(
    make_trajectory: MakeTrajectory, tmp_path: Path, how: str, says: str
) -> None:
    file = tmp_path / "trajectories.jsonl"
    file.write_bytes(encode(make_trajectory(1)) + _broken(make_trajectory(2), how))
    with pytest.raises(UserError, match=f"trajectories.jsonl:2: .*{says}"):
        read_trajectories(file)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="prost_lightning collect"):
        read_trajectories(tmp_path / "nothing.jsonl")


def test_scenario_is_the_task_without_its_number(make_trajectory: MakeTrajectory) -> None:
    assert make_trajectory(1, task_id="82e2fac_3").scenario_id == "82e2fac"
