"""Real episodes within the Trainer of somebody else's project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import wandb
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from prost_lightning.agents.oracle_policy import OraclePolicy
from prost_lightning.agents.prompts import PROMPT_VERSION
from prost_lightning.appworld.data import world_name
from prost_lightning.callbacks import appworld_eval
from prost_lightning.callbacks.appworld_eval import AppWorldEval
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Outcome, Trajectory, read_trajectories


@pytest.fixture(autouse=True)
def no_run_left_open() -> Iterator[None]:
    """Ends W&B runs, which live on in the process after their logger."""
    yield
    wandb.finish()


class Recorder:
    """Stands for the engine where only the callback's own part is at stake."""

    def __init__(self, root: Path, *_: object) -> None:
        self.world = world_name(root)

    def close(self) -> None: ...

    def play(self, task_ids, *, policy, split, critic, limits, on_end, **_: object) -> list[Trajectory]:
        episodes = [
            Trajectory(
                task_id=task_id,
                world=self.world,
                split=split,
                agents="team",
                policy="oracle",
                seed=0,
                instruction="",
                sub_tasks=[],
                conversations=[],
                steps=[],
                outcome=Outcome(True, "completed"),
                metadata={
                    "policy_seed": policy.seed,
                    "critic": critic,
                    "limits": asdict(limits),
                    "prompt_version": PROMPT_VERSION,
                },
            )
            for task_id in task_ids
        ]
        for episode in episodes:
            on_end(episode)
        return episodes


def trainer_of(directory: Path, *callbacks, **kwargs) -> Trainer:
    settings = {"max_epochs": 2, "logger": False, "enable_checkpointing": False} | kwargs
    return Trainer(
        default_root_dir=directory,
        callbacks=list(callbacks),
        accelerator="cpu",
        limit_train_batches=2,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def evaluation(world: Path, **kwargs) -> AppWorldEval:
    settings = {"n_tasks": 2, "policy": OraclePolicy(world), "progress": False} | kwargs
    return AppWorldEval(world, **settings)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_foreign_module_is_evaluated_and_its_training_left_alone(
    mini_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    seed_everything(1)
    plain = BoringModel()
    trainer_of(tmp_path / "plain").fit(plain)

    seed_everything(1)
    model = BoringModel()
    callback = evaluation(mini_world, every_n_epochs=1)
    checkpoint = ModelCheckpoint(tmp_path / "best", monitor="eval/tgc", mode="max", save_top_k=-1)
    loggers = [CSVLogger(tmp_path, name="csv", version=""), WandbLogger(save_dir=tmp_path, offline=True)]
    trainer = trainer_of(tmp_path, callback, checkpoint, logger=loggers, enable_checkpointing=True)
    trainer.fit(model)

    assert torch.equal(weights(model), weights(plain))
    assert [(r["label"], r["epoch"], r["global_step"]) for r in callback.results] == [
        ("before", 0, 0),
        ("epoch-1", 1, 2),
        ("epoch-2", 2, 4),
        ("after", 2, 4),
    ]
    assert all(r["tgc"] == 100.0 for r in callback.results)
    # The last epoch's evaluation was of the final weights: it is not played twice.
    episodes = read_trajectories(tmp_path / "episodes.jsonl")
    assert [e.metadata["label"] for e in episodes] == ["before"] * 2 + ["epoch-1"] * 2 + ["epoch-2"] * 2
    assert all(e.conversations for e in episodes)
    logged = (tmp_path / "csv" / "metrics.csv").read_text()
    for name in ("eval/tgc", "eval/sgc", "eval/executor/llm_calls", "eval/end/completed", "eval/sub_task_error_rate"):
        assert name in logged
    assert checkpoint.best_model_score == 100.0
    assert list((tmp_path / "wandb").glob("**/media/table/eval/episodes/*.table.json"))

    summary = callback.as_summary()
    assert summary["before"]["tgc"] == summary["after"]["tgc"] == 100.0
    assert (summary["split"], summary["tasks"]) == ("dev", 2)
    json.dumps(summary)


def test_a_resumed_run_does_not_repeat_an_evaluation(
    mini_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appworld_eval, "Arena", Recorder)
    first = evaluation(mini_world)
    trainer = trainer_of(tmp_path, first, max_epochs=1)
    trainer.fit(BoringModel())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert [r["label"] for r in first.results] == ["before", "after"]

    second = evaluation(mini_world)
    trainer_of(tmp_path, second).fit(BoringModel(), ckpt_path=tmp_path / "half.ckpt")
    assert second.results[:2] == first.results
    assert [(r["label"], r["epoch"]) for r in second.results[2:]] == [("after", 2)]
    assert second.as_summary()["after"]["epoch"] == 2
    assert len(read_trajectories(tmp_path / "episodes.jsonl")) == 3 * 2


def test_a_new_run_sets_an_earlier_one_s_episodes_aside(
    mini_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appworld_eval, "Arena", Recorder)
    for _ in range(3):
        trainer_of(tmp_path, evaluation(mini_world)).fit(BoringModel())
    names = sorted(path.name for path in tmp_path.glob("episodes*.jsonl"))
    assert names == ["episodes.1.jsonl", "episodes.2.jsonl", "episodes.jsonl"]
    assert {len(read_trajectories(tmp_path / name)) for name in names} == {2 * 2}


def test_an_evaluation_that_was_killed_is_not_played_twice(
    mini_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the last evaluation: what was played stays, a torn line does not, and the rest is played on resume."""

    class Killed(Exception):
        pass

    class DiesInTheLast(Recorder):
        def play(self, task_ids, *, experiment, **settings) -> list[Trajectory]:
            if experiment != "after":
                return super().play(task_ids, experiment=experiment, **settings)
            super().play(task_ids[:1], experiment=experiment, **settings)
            with (tmp_path / "episodes.jsonl").open("ab") as lines:
                lines.write(b'{"task_id": "torn')
            raise Killed

    seed_everything(1)
    monkeypatch.setattr(appworld_eval, "Arena", DiesInTheLast)
    first = evaluation(mini_world, n_tasks=3)
    every_epoch = ModelCheckpoint(tmp_path, every_n_epochs=1, save_last=True)
    with pytest.raises(Killed):
        trainer_of(tmp_path, first, every_epoch, enable_checkpointing=True).fit(BoringModel())
    assert [r["label"] for r in first.results] == ["before"]

    seed_everything(1)
    monkeypatch.setattr(appworld_eval, "Arena", Recorder)
    second = evaluation(mini_world, n_tasks=3)
    data = BoringModel().train_dataloader()
    trainer_of(tmp_path, second).fit(BoringModel(), data, ckpt_path=tmp_path / "last.ckpt")
    assert [(r["label"], r["tasks"]) for r in second.results] == [("before", 3), ("after", 3)]
    labels = [episode.metadata["label"] for episode in read_trajectories(tmp_path / "episodes.jsonl")]
    assert labels == ["before"] * 3 + ["after"] * (3)


def test_an_epoch_whose_end_was_never_seen_is_measured_on_resume(
    mini_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed from a checkpoint of an epoch's last batch, which is written before the epoch's end."""
    monkeypatch.setattr(appworld_eval, "Arena", Recorder)
    every_batch = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    trainer_of(tmp_path, evaluation(mini_world), every_batch, enable_checkpointing=True, max_epochs=1).fit(
        BoringModel()
    )

    callback = evaluation(mini_world, every_n_epochs=1)
    trainer_of(tmp_path, callback).fit(BoringModel(), ckpt_path=tmp_path / "step=2.ckpt")
    assert [r["label"] for r in callback.results] == ["before", "epoch-1", "epoch-2", "after"]


def test_the_policy_of_the_module_is_used(mini_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Player(BoringModel):
        def policy(self) -> OraclePolicy:
            return OraclePolicy(mini_world, seed=77)

    monkeypatch.setattr(appworld_eval, "Arena", Recorder)
    callback = evaluation(mini_world, policy=None, at_start=False, output_dir=tmp_path / "out")
    trainer_of(tmp_path, callback).fit(Player())
    assert [r["label"] for r in callback.results] == ["after"]
    episodes = read_trajectories(tmp_path / "out" / "episodes.jsonl")
    assert {episode.metadata["policy_seed"] for episode in episodes} == {77}


def test_a_failing_wandb_is_not_in_the_way(mini_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable(WandbLogger):
        def log_metrics(self, *_: object, **__: object) -> None:
            raise wandb.Error("no connection")

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(appworld_eval, "Arena", Recorder)
    callback = evaluation(mini_world)
    logger = Unreachable(save_dir=tmp_path, offline=True)
    with pytest.warns(UserWarning, match="W&B did not take the evaluation 'before': no connection"):
        trainer_of(tmp_path, callback, logger=logger, max_epochs=1).fit(BoringModel())
    assert [r["label"] for r in callback.results] == ["before", "after"]


def test_what_cannot_work_is_said_before_training(mini_world: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"BoringModel has no policy\(\)"):
        trainer_of(tmp_path, evaluation(mini_world, policy=None)).fit(BoringModel())
    with pytest.raises(UserError, match="no world here"):
        trainer_of(tmp_path, evaluation(tmp_path)).fit(BoringModel())
    with pytest.raises(UserError, match="every_n_epochs is -1"):
        evaluation(mini_world, every_n_epochs=-1)
