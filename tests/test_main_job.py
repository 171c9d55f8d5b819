"""The main job as a user runs it, end to end on the real engine, with a tiny random model for speed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import PeftModel

from prost_lightning.cli import main
from prost_lightning.modules.qlora import load_base
from prost_lightning.trajectory import Trajectory, write_trajectories

ROOT = Path(__file__).parents[1]
FIGURES = {"tgc", "sgc", "llm_calls", "prompt_tokens", "completion_tokens", "flops", "seconds"}


@pytest.fixture(scope="module")
def fitted(
    mini_world: Path,
    mini_world_settings: dict[str, Any],
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """A finished run of the quickstart's configuration with a tiny model, and what it printed."""
    directory = tmp_path_factory.mktemp("main-job")
    overlay: dict[str, Any] = {
        "run_dir": str(directory / "run"),
        "world": str(mini_world),
        "model": {"base_model": str(tiny_model), "lora": {"r": 2}},
        "data": {
            "trajectories": str(directory / "trajectories.jsonl"),
            "prepare": {
                "class_path": "prost_lightning.datamodules.OracleTrajectories",
                "init_args": {
                    "root": str(mini_world),
                    **mini_world_settings,
                    "n_tasks": 3,
                },
            },
        },
        "trainer": {"max_epochs": 2},
    }
    (directory / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    arguments = ["fit", "--config", "configs/quickstart.yaml", "--config", str(directory / "overlay.yaml")]
    done = subprocess.run(
        [sys.executable, "-m", "prost_lightning", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return directory / "run", done.stdout + done.stderr


def test_the_summary_holds_all_figures(fitted: tuple[Path, str]) -> None:
    directory, printed = fitted
    summary = json.loads((directory / "summary.json").read_text())
    for label in ("before", "after"):
        assert summary[label].keys() >= FIGURES
    assert summary["world"].startswith("mini:seed11:")
    assert (summary["split"], summary["tasks"]) == ("dev", 6)
    pools = [stage["pool_items"] for stage in summary["stages"]]
    assert len(pools) == 2
    assert pools[0] < pools[1]
    assert summary["trained_tokens"] == sum(stage["pool_tokens"] for stage in summary["stages"])
    assert summary["wall_seconds"] > 0
    assert {"allocation", "base_model", "seed", "code_version", "command"} <= summary.keys()
    assert str(directory / "summary.json") in printed.replace("\n", "")
    assert "Total length of" not in printed, "Lightning wonders that nothing is held out, which the configuration says"


def test_the_run_leaves_its_files(fitted: tuple[Path, str]) -> None:
    directory, _ = fitted
    episodes = [json.loads(line) for line in (directory / "episodes.jsonl").read_text().splitlines()]
    assert len(episodes) == 12
    assert all(episode["conversations"] and episode["outcome"]["end_reason"] for episode in episodes)
    for name in ("metrics.csv", "pareto.png", "pareto.csv", "config.yaml", "checkpoints/last.ckpt"):
        assert (directory / name).is_file(), name
    columns = (directory / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"curriculum/stage", "curriculum/pool_items", "eval/tgc", "efficiency/trained_tokens"} <= set(columns)


def test_the_adapters_load_with_plain_peft(fitted: tuple[Path, str], tiny_model: Path) -> None:
    directory, _ = fitted
    for role in ("orchestrator", "executor", "critic"):
        model = PeftModel.from_pretrained(load_base(tiny_model, "none"), str(directory / "adapters" / role))
        assert model.peft_config["default"].r == 2


def test_the_saved_config_reproduces_the_run(fitted: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    directory, _ = fitted
    saved = yaml.safe_load((directory / "config.yaml").read_text())
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(directory / "config.yaml"), "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out) == saved


def test_a_checkpoint_s_loss_is_measured_and_the_run_left_as_it_is(
    fitted: tuple[Path, str],
    make_trajectory: Callable[..., Trajectory],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory, _ = fitted
    config, metrics = ((directory / name).read_text() for name in ("config.yaml", "metrics.csv"))
    held_out = tmp_path / "trajectories.jsonl"
    write_trajectories(held_out, [make_trajectory(2, task_id=f"000000{n}_1") for n in range(3)])
    csv_alone = yaml.safe_load(config)["trainer"]["logger"][0]
    overlay = {"trainer": {"logger": csv_alone}, "data": {"prepare": None}}
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    arguments = [
        f"--config={directory / 'config.yaml'}",
        f"--config={tmp_path / 'overlay.yaml'}",
        f"--data.trajectories={held_out}",
        f"--ckpt_path={directory / 'checkpoints' / 'last.ckpt'}",
    ]
    monkeypatch.chdir(ROOT)
    for command, figure in (("validate", "val/loss"), ("test", "test/loss")):
        assert main([command, *arguments, "--data.val_share=0.5"]) == 0
        assert figure in (directory / "metrics.csv").read_text()
    assert (directory / "config.yaml").read_text() == config
    assert metrics in [path.read_text() for path in directory.glob("metrics.*.csv")]

    assert main(["validate", *arguments]) == 2
    assert "data.val_share is 0.0, so no trajectory is held out to measure a loss on" in capsys.readouterr().err


def test_evaluate_resumes_and_pareto_compares(
    fitted: tuple[Path, str], mini_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, _ = fitted
    arguments = ["evaluate", "--adapters", str(directory / "adapters"), "--world", str(mini_world), "--n_tasks", "6"]
    arguments += [
        "--limits",
        "{sub_tasks: 5, turns_per_sub_task: 4, rejects: 1, tokens_per_turn: 99, format_errors: 0}",
    ]
    assert main([*arguments, "--output_dir", str(tmp_path / "dev")]) == 0
    episodes = tmp_path / "dev" / "episodes.jsonl"
    first_four = episodes.read_text().splitlines(keepends=True)[:4]
    episodes.write_text("".join(first_four) + '{"torn')
    assert main([*arguments, "--output_dir", str(tmp_path / "dev")]) == 0
    lines = episodes.read_text().splitlines(keepends=True)
    assert len(lines) == 6
    assert lines[:4] == first_four

    assert main(["pareto", str(directory), str(tmp_path / "dev"), "--output_dir", str(tmp_path / "compared")]) == 0
    assert "pareto.png" in capsys.readouterr().out
    assert (tmp_path / "compared" / "pareto.csv").is_file()
