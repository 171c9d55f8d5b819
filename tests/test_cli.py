"""What the commands do with their arguments and with errors, in process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.demos.boring_classes import BoringModel

from prost_lightning import cli
from prost_lightning.agents import collect, evaluation, local_policy
from prost_lightning.agents.limits import EpisodeLimits
from prost_lightning.cli import main
from prost_lightning.lightning_cli import ProstCLI, SaveRunConfig


class BoringCLI(ProstCLI):
    """Ours, over a model that has nothing to link."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None: ...


@pytest.fixture
def boring(tmp_path: Path) -> Any:
    """Runs a command with a real trainer and a real CSVLogger whose files lie in ``tmp_path/run``."""
    config = {
        "model": {},
        "trainer": {
            "default_root_dir": str(tmp_path / "run"),
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_train_batches": 2,
            "limit_val_batches": 2,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(tmp_path / "run"), "name": None, "version": ""},
            },
            "callbacks": [
                {"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"},
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {"dirpath": str(tmp_path / "run"), "save_last": True},
                },
            ],
        },
    }
    (tmp_path / "boring.yaml").write_text(yaml.safe_dump(config))

    def run(command: str, *arguments: str) -> None:
        BoringCLI(
            LoggingModel,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            args=[command, "--config", str(tmp_path / "boring.yaml"), *arguments],
        )

    return run


class LoggingModel(BoringModel):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.layer(batch).sum())


def test_a_run_s_config_and_metrics_outlive_what_is_done_with_its_checkpoint(boring: Any, tmp_path: Path) -> None:
    directory, last = tmp_path / "run", tmp_path / "run" / "last.ckpt"
    boring("fit")
    metrics = [(directory / "metrics.csv").read_text()]
    assert "val/loss" in metrics[0]
    boring("fit", f"--ckpt_path={last}", "--trainer.max_epochs=2")
    metrics.append((directory / "metrics.csv").read_text())
    config = (directory / "config.yaml").read_text()
    assert yaml.safe_load(config)["ckpt_path"] is None
    assert yaml.safe_load(config)["trainer"]["max_epochs"] == 2
    boring("validate", f"--ckpt_path={last}", "--trainer.limit_val_batches=1")
    assert (directory / "config.yaml").read_text() == config
    assert [(directory / f"metrics.{n}.csv").read_text() for n in (1, 2)] == metrics
    assert "val/loss" in (directory / "metrics.csv").read_text()


@pytest.fixture
def sigint() -> Iterator[None]:
    """Lightning ignores further interrupts once there was one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_fit_exits_with_code_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sigint: None) -> None:
    class Interrupted(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            raise KeyboardInterrupt

    def fit(_: object) -> None:
        settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
        Trainer(default_root_dir=tmp_path, **settings).fit(Interrupted())

    monkeypatch.setattr(cli, "run_lightning", fit)
    assert main(["fit"]) == 130


def test_what_needs_no_model_starts_without_pytorch() -> None:
    code = "import sys, prost_lightning.cli; print(*{'torch', 'lightning'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_places_that_cannot_be_written_to_are_named_before_episodes_are_played(
    mini_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (collect, evaluation):
        monkeypatch.delattr(module, "Arena")
    file = tmp_path / "file"
    file.write_text("")
    world = f"--world={mini_world}"
    assert main(["collect", world, f"--output={tmp_path}/"]) == 2
    assert f"{tmp_path}: Is a directory" in one_error(capsys)
    assert main(["collect", world, f"--output={file}/x.jsonl"]) == 2
    assert f"{file}: File exists" in one_error(capsys)
    assert main(["evaluate", world, "--policy=oracle", f"--output_dir={file}/run/deep"]) == 2
    assert f"{file}/run/deep: Not a directory" in one_error(capsys)
    assert main(["world", "build", f"--root={file}/world"]) == 2
    assert str(file) in one_error(capsys)


def test_an_error_of_wandb_says_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(_: object) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(cli, "run_lightning", fit)
    assert main(["fit"]) == 2
    error = one_error(capsys)
    assert "wandb login" in error
    assert "offline: true" in error


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in (KeyError("x"), ConnectionError("refused")):

        def fit(_: object, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr(cli, "run_lightning", fit)
        with pytest.raises(type(fault)):
            main(["fit"])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "trajectories.jsonl"),
        (["--split=dev"], "trajectories-dev.jsonl"),
        (["--agents=single"], "trajectories-single.jsonl"),
        (["--agents=single", "--split=dev"], "trajectories-single-dev.jsonl"),
    ],
)
def test_collections_that_differ_do_not_meet_in_one_file(
    arguments: list[str], name: str, mini_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(collect, "collect", lambda *given, **settings: asked.append((given, settings)))
    assert main(["collect", f"--world={mini_world}", "--limits.sub_tasks=5", *arguments]) == 0
    ((given, settings),) = asked
    assert given[2] == mini_world / name
    assert settings["limits"] == EpisodeLimits(sub_tasks=5)


def test_relative_adapters_are_evaluated_under_their_run_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AskedError(Exception):
        pass

    def ask(world: Path, split: str, player: object, output_dir: Path, **settings: object) -> None:
        assert settings["limits"] == EpisodeLimits(turns=3)
        raise AskedError(output_dir)

    monkeypatch.setattr(local_policy, "load_local_policy", lambda *_, **__: None)
    monkeypatch.setattr(evaluation, "evaluate", ask)
    (tmp_path / "my-run").mkdir()
    monkeypatch.chdir(tmp_path / "my-run")
    with pytest.raises(AskedError, match="runs/evaluate-my-run-team-dev"):
        main(["evaluate", "--adapters=adapters", "--limits={turns: 3}"])
