from __future__ import annotations

import contextlib
import io
import queue
from pathlib import Path
from typing import Any

import pytest
import yaml

from prost_lightning.cli import main

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def print_config(arguments: list[str]) -> dict[str, Any]:
    """The configuration that `fit` would run with."""
    printed = io.StringIO()
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as stop:
        main(["fit", *arguments, "--print_config"])
    assert stop.value.code in (0, None)
    config: dict[str, Any] = yaml.safe_load(printed.getvalue())
    return config


def overlays() -> list[Path]:
    paths = [
        path for folder in (".", "curricula", "distributed", "models") for path in (CONFIGS / folder).glob("*.yaml")
    ]
    return sorted(path for path in paths if path.name != "quickstart.yaml")


@pytest.mark.parametrize("path", overlays(), ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    print_config(["--config", "configs/quickstart.yaml", "--config", str(path)])


def test_an_override_reaches_the_interpolations() -> None:
    config = print_config(["--config", "configs/quickstart.yaml", "--run_dir=runs/other"])
    assert config["trainer"]["default_root_dir"] == "runs/other"
    evaluations = [c for c in config["trainer"]["callbacks"] if c["class_path"].endswith("AppWorldEval")]
    assert evaluations[0]["init_args"]["output_dir"] == "runs/other"


def test_the_sweep_renders_to_a_command_that_fit_understands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Renders the sweep with the W&B agent's own code, offline, and feeds the result to `fit --print_config`."""
    from wandb import wandb_agent

    sweep = yaml.safe_load((CONFIGS / "sweeps" / "curriculum.yaml").read_text())
    commands: list[list[str]] = []

    class Recorder:
        def __init__(self, command: list[str], **_: Any) -> None:
            commands.append(command)

    monkeypatch.setattr(wandb_agent, "AgentProcess", Recorder)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "run")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(tmp_path / "parameters.yaml"))
    monkeypatch.chdir(tmp_path)
    agent = wandb_agent.Agent(object(), queue.Queue(), sweep_id="sweep")
    agent._sweep_command = sweep["command"]
    chosen = {key: {"value": choice["values"][-1]} for key, choice in sweep["parameters"].items()}
    agent._command_run({"run_id": "run7", "program": sweep["program"], "args": chosen})

    (command,) = commands
    assert command[:5] == ["/usr/bin/env", "python", "-m", "prost_lightning", "fit"]
    monkeypatch.setenv("WANDB_RUN_ID", "run7")
    config = print_config(command[5:])
    assert config["data"]["curriculum"] == chosen["data.curriculum"]["value"]
    assert config["model"]["lr"] == chosen["model.lr"]["value"]
    assert config["data"]["seed"] == config["seed_everything"] == chosen["seed_everything"]["value"]
    assert config["run_dir"] == "runs/sweep/run7"
    assert config["trainer"]["default_root_dir"] == "runs/sweep/run7"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fit", "--config", "missing.yaml"], "missing.yaml"),
        (["fit", "--model.lrr=3"], "--model.lrr"),
        (["fit", "--model.lr=fast"], "model.lr: expected float, got fast"),
        (["collect", "--output=x.jsonl", "--seed=many"], "seed: expected int, got many"),
        (["train"], "unknown command 'train'"),
        (["fit", "--config", "configs/quickstart.yaml", "--trainer.accelerator=cuda"], "CUDAAccelerator"),
        (["fit", "--config", "configs/quickstart.yaml", "--data.curriculum=faster"], "data.curriculum"),
        (["fit", "--config", "configs/quickstart.yaml", "--model.roles=[executor,executor]"], "model.roles"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    try:
        code: object = main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence in errors[0]
