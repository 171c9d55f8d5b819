from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, Subset

from prost_lightning.callbacks.subtask_curriculum import SubtaskCurriculum
from prost_lightning.curriculum import EpochsPerStage, Item
from prost_lightning.datamodules.subtask_datamodule import SubtaskDataModule
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Trajectory, write_trajectories

MakeTrajectory = Callable[..., Trajectory]
FitArguments = dict[str, Any]


@pytest.fixture
def quiet(tmp_path: Path) -> FitArguments:
    return {
        "accelerator": "cpu",
        "default_root_dir": tmp_path,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "logger": False,
        "reload_dataloaders_every_n_epochs": 1,
    }


# --- in somebody else's project ------------------------------------------------------------------------------------


class ForeignData(LightningDataModule):
    """Somebody's DataModule: the five lines that concern the curriculum are marked."""

    n_stages = 3  # 1
    stage = 1  # 2

    def set_stage(self, stage: int) -> None:  # 3
        self.stage = stage  # 4

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        return DataLoader(Subset(RandomDataset(32, 100), range(4 * self.stage)))  # 5


class Recorder(Callback):
    """Notes what Lightning took each epoch to be, and what it was."""

    def __init__(self) -> None:
        self.epochs: list[list[int]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.append([trainer.current_epoch, int(trainer.num_training_batches), 0])

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.epochs[-1][2] += 1


def test_it_grows_the_data_of_a_foreign_project(quiet: FitArguments) -> None:
    recorder = Recorder()
    trainer = Trainer(max_epochs=5, callbacks=[SubtaskCurriculum(), recorder], **quiet)
    trainer.fit(BoringModel(), ForeignData())
    assert recorder.epochs == [[0, 4, 4], [1, 8, 8], [2, 12, 12], [3, 12, 12], [4, 12, 12]]
    assert trainer.callback_metrics["curriculum/stage"] == 3


def test_each_stage_may_last_several_epochs(quiet: FitArguments) -> None:
    recorder = Recorder()
    trainer = Trainer(max_epochs=5, callbacks=[SubtaskCurriculum(EpochsPerStage(2)), recorder], **quiet)
    trainer.fit(BoringModel(), ForeignData())
    assert [batches for _, _, batches in recorder.epochs] == [4, 4, 8, 8, 12]


def test_a_target_can_be_passed_in(quiet: FitArguments) -> None:
    class Sampler(torch.utils.data.Sampler[int]):
        n_stages = 2
        stage = 1

        def set_stage(self, stage: int) -> None:
            self.stage = stage

        def __len__(self) -> int:
            return 3 * self.stage

        def __iter__(self) -> Any:
            return iter(range(len(self)))

    sampler, recorder = Sampler(), Recorder()
    trainer = Trainer(max_epochs=3, callbacks=[SubtaskCurriculum(target=sampler), recorder], **quiet)
    trainer.fit(BoringModel(), DataLoader(RandomDataset(32, 100), sampler=sampler))
    assert recorder.epochs == [[0, 3, 3], [1, 6, 6], [2, 6, 6]]


@pytest.mark.parametrize("checkpoint_at", ["batch", "epoch"])
def test_a_foreign_project_resumes_at_any_epochs_end(quiet: FitArguments, tmp_path: Path, checkpoint_at: str) -> None:
    """Also from a checkpoint of an epoch's last batch, where Lightning alone would skip batches of the next epoch."""
    when = {"every_n_train_steps": 4} if checkpoint_at == "batch" else {"save_on_train_epoch_end": True}
    checkpoints = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **when)
    arguments = quiet | {"enable_checkpointing": True}
    Trainer(max_epochs=3, callbacks=[SubtaskCurriculum(), checkpoints], **arguments).fit(BoringModel(), ForeignData())
    for step, remaining in ((4, [[1, 8, 8], [2, 12, 12]]), (12, [[2, 12, 12]])):
        recorder = Recorder()
        trainer = Trainer(max_epochs=3, callbacks=[SubtaskCurriculum(), recorder], **quiet)
        trainer.fit(BoringModel(), ForeignData(), ckpt_path=str(tmp_path / f"step={step}.ckpt"))
        assert recorder.epochs == remaining
        assert trainer.global_step == 24


def test_with_max_steps_an_epochs_end_is_no_place_to_resume(quiet: FitArguments, tmp_path: Path) -> None:
    arguments = quiet | {"enable_checkpointing": True, "max_epochs": 3, "max_steps": 20}
    checkpoints = ModelCheckpoint(tmp_path, filename="{step}", save_on_train_epoch_end=True, save_top_k=-1)
    Trainer(callbacks=[SubtaskCurriculum(), checkpoints], **arguments).fit(BoringModel(), ForeignData())
    trainer = Trainer(callbacks=[SubtaskCurriculum()], **arguments)
    with pytest.raises(UserError, match=r"limit training with trainer\.max_epochs"):
        trainer.fit(BoringModel(), ForeignData(), ckpt_path=str(tmp_path / "step=4.ckpt"))


def test_it_stays_out_of_the_way_of_validation_and_test(quiet: FitArguments) -> None:
    Trainer(callbacks=[SubtaskCurriculum()], **quiet).validate(BoringModel(), verbose=False)


# --- mistakes ------------------------------------------------------------------------------------------------------


def test_a_trainer_that_keeps_its_loader_is_refused(quiet: FitArguments) -> None:
    trainer = Trainer(max_epochs=2, callbacks=[SubtaskCurriculum()], **quiet | {"reload_dataloaders_every_n_epochs": 0})
    with pytest.raises(UserError, match="reload_dataloaders_every_n_epochs must be 1"):
        trainer.fit(BoringModel(), ForeignData())


def test_without_a_target_it_says_what_is_missing(quiet: FitArguments) -> None:
    trainer = Trainer(max_epochs=2, callbacks=[SubtaskCurriculum()], **quiet)
    with pytest.raises(UserError, match=r"`n_stages` and `set_stage\(int\)`, which BoringModel lacks"):
        trainer.fit(BoringModel())


def test_a_plan_other_than_the_data_s_is_refused(quiet: FitArguments) -> None:
    data = ForeignData()
    data.growth = EpochsPerStage()  # type: ignore[attr-defined]
    trainer = Trainer(max_epochs=2, callbacks=[SubtaskCurriculum(EpochsPerStage(2))], **quiet)
    with pytest.raises(
        UserError, match=r"growth is EpochsPerStage\(epochs=2\), but ForeignData plans with EpochsPerStage\(epochs=1\)"
    ):
        trainer.fit(BoringModel(), data)


def test_stages_that_are_never_reached_are_named(quiet: FitArguments) -> None:
    trainer = Trainer(max_epochs=2, callbacks=[SubtaskCurriculum()], **quiet)
    with pytest.warns(UserWarning, match="ends at stage 2 of 3"):
        trainer.fit(BoringModel(), ForeignData())


# --- with the data module of this project --------------------------------------------------------------------------


class Learner(LightningModule):
    """A minute model that notes the items of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(49152, 4)
        self.trained: list[list[Item]] = []
        self.rates: list[float] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        if batch_idx == 0:
            self.trained.append([])
        self.trained[-1] += batch["items"]
        return self.embedding(batch["input_ids"]).square().mean()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        steps = self.trainer.datamodule.total_optimizer_steps()  # type: ignore[attr-defined]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Bar(TQDMProgressBar):
    """Notes length and final state of the bar in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[tuple[int, int]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self.epochs.append((int(self.train_progress_bar.total), self.train_progress_bar.n))


@pytest.fixture(scope="module")
def trajectories(make_trajectory: MakeTrajectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "trajectories.jsonl"
    write_trajectories(file, [make_trajectory(n, words=3 * n) for n in (1, 2, 3, 3, 2)])
    return file


def all_items(visible: Callable[[int], bool]) -> set[Item]:
    return {
        Item(trajectory, role, position)
        for trajectory, n in enumerate((1, 2, 3, 3, 2))
        for role in ("orchestrator", "executor", "critic")
        for position in range(1, n + 1)
        if visible(position)
    }


@pytest.mark.parametrize("accumulate", [1, 3])
def test_growth_in_training(
    trajectories: Path,
    tiny_model: Path,
    quiet: FitArguments,
    tmp_path: Path,
    lightning_log: Callable[[], list[str]],
    accumulate: int,
) -> None:
    data = SubtaskDataModule(trajectories, base_model=tiny_model, tokens_per_batch=150, val_share=0.0)
    learner, bar = Learner(), Bar()
    arguments = quiet | {"enable_progress_bar": True, "logger": CSVLogger(tmp_path, name="", version="")}
    trainer = Trainer(
        max_epochs=4, callbacks=[SubtaskCurriculum(), bar], accumulate_grad_batches=accumulate, **arguments
    )
    trainer.fit(learner, data)

    # Items: one more sub-task an epoch, each item once; a conversation that grows is repeated with all it has so far.
    for epoch, trained in enumerate(learner.trained):
        assert len(trained) == len(set(trained))
        assert set(trained) == all_items(lambda position, epoch=epoch: position <= epoch + 1)  # type: ignore[misc]
    # Lengths: the progress bar is full at the end of each epoch, and no epoch has the length of another stage.
    stages = [1, 2, 3, 3]
    lengths = [data.sampler.n_batches(stage=stage, epoch=epoch) for epoch, stage in enumerate(stages)]
    assert lengths[0] < lengths[1] < lengths[2]
    assert bar.epochs == [(length, length) for length in lengths]
    # Steps: the schedule arrives at its end exactly with the last step.
    assert trainer.global_step == len(learner.rates) == data.total_optimizer_steps()
    assert learner.rates[-1] == pytest.approx(1 / len(learner.rates))
    # Logs.
    pools = [len(all_items(lambda position, stage=stage: position <= stage)) for stage in stages]  # type: ignore[misc]
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    header = rows[0].split(",")
    logged = [dict(zip(header, row.split(","), strict=True)) for row in rows[1:]]
    assert [float(row["curriculum/stage"]) for row in logged] == stages
    assert [float(row["curriculum/pool_items"]) for row in logged] == pools
    tokens = [float(row["curriculum/pool_tokens"]) for row in logged]
    assert 0 < tokens[0] < tokens[1] < tokens[2] == tokens[3]
    messages = [message for message in lightning_log() if "curriculum stage" in message]
    assert [message.partition(",")[0] for message in messages] == [
        f"Epoch {epoch}: curriculum stage {stage} of 3" for epoch, stage in enumerate(stages)
    ]
    assert all(f"pool of {pool} items and " in message for pool, message in zip(pools, messages, strict=True))


def test_a_pool_that_nobody_grows_is_pointed_out(trajectories: Path, tiny_model: Path, quiet: FitArguments) -> None:
    data = SubtaskDataModule(trajectories, base_model=tiny_model, val_share=0.0)
    with pytest.warns(UserWarning, match="add the SubtaskCurriculum callback"):
        Trainer(max_epochs=2, **quiet).fit(Learner(), data)


def test_the_data_module_sets_how_long_a_stage_lasts(trajectories: Path, tiny_model: Path, quiet: FitArguments) -> None:
    data = SubtaskDataModule(trajectories, base_model=tiny_model, val_share=0.0, growth=EpochsPerStage(2), n_stages=2)
    learner = Learner()
    trainer = Trainer(max_epochs=3, callbacks=[SubtaskCurriculum()], **quiet)
    trainer.fit(learner, data)
    first, second, third = (set(trained) for trained in learner.trained)
    assert first == second < third == all_items(lambda position: True)
    assert trainer.global_step == data.total_optimizer_steps()
