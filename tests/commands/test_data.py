from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from prost_lightning.cli import main
from prost_lightning.trajectory import Trajectory, write_trajectories


@pytest.fixture(scope="module")
def file(make_trajectory: Callable[..., Trajectory], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "trajectories.jsonl"
    write_trajectories(path, [make_trajectory(n, task_id=f"000000{n}_1") for n in (2, 3)])
    return path


@pytest.fixture
def config(file: Path, tiny_model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    settings = {
        "model": {"base_model": str(tiny_model), "roles": ["orchestrator", "critic"]},
        "data": {"trajectories": str(file), "curriculum": "reverse", "val_share": 0.0},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_sample_shows_labels_and_sub_tasks(
    file: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    source = ["--trajectories", str(file), "--base_model", str(tiny_model)]
    assert main(["data", "show", *source, "--stage", "1", "--role", "orchestrator"]) == 0
    shown = capsys.readouterr().out
    assert "orchestrator  stage 1 of 3" in shown
    assert "[orchestrator, sub-task 1, level 1]" in shown
    assert "sub-task 2" not in shown
    assert "tokens left out" in shown
    assert "\x1b[1;32mSUBTASK 1" in shown  # the first thing that is trained on, in green


def test_it_takes_the_config_of_a_run(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert "orchestrator" in shown
    assert "executor" not in shown
    assert "█" in shown
    assert main(["data", "show", "--config", f"[{config}]", "--stage", "1", "--task", "0000003_1"]) == 0
    shown = capsys.readouterr().out
    assert "[orchestrator, sub-task 3, level 1]" in shown  # reverse
    assert "[orchestrator, sub-task 1, level 3]" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name the data"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such config file"),
        (["--stage", "9"], "--stage is 9"),
        (["--task", "x"], "no sample of role any and task x"),
    ],
)
def test_mistakes_are_named(config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    source = ["--config", f"[{config}]"] if arguments and "--config" not in arguments else []
    assert main(["data", "show", *source, *arguments]) == 2
    assert says in capsys.readouterr().err
