"""Real runs of the curriculum: on one process and on two, and killed with SIGKILL at any moment.

Run as a script, this file is one of two processes that train together (Lightning starts the other one).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

import prost_lightning
from prost_lightning.callbacks.exact_resume import ExactResume
from prost_lightning.callbacks.subtask_curriculum import SubtaskCurriculum
from prost_lightning.curriculum import Growth, Mastery
from prost_lightning.datamodules.subtask_datamodule import SubtaskDataModule
from prost_lightning.modules.qlora import LoraSettings
from prost_lightning.modules.role_module import RoleModule
from prost_lightning.modules.sharding import ShardedStrategy, whole
from prost_lightning.trajectory import Trajectory, write_trajectories

CHECKPOINT = "last.ckpt"
FINAL = "final.pt"
SUB_TASKS = (1, 2, 3, 3, 2, 3)
ACCUMULATE = 2


def log_step(module: LightningModule, batch: dict[str, Any], batch_idx: int, log: Path) -> None:
    """Appends what is trained on: epoch, batch index, batches in the epoch, stage and items."""
    trainer = module.trainer
    stage = trainer.datamodule.stage  # type: ignore[attr-defined]
    entry = [trainer.current_epoch, batch_idx, int(trainer.num_training_batches), stage, batch["items"]]
    with log.with_name(f"{log.name}.rank{trainer.global_rank}").open("a") as file:
        file.write(json.dumps(entry) + "\n")


class Learner(LightningModule):
    """Somebody's module: with momentum and dropout, and a metric that is known to rank zero alone."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(49152, 8)
        self.dropout = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(8, 1)
        self.log_file = log

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        log_step(self, batch, batch_idx, self.log_file)
        self.log("error", 1.0 / (1 + self.trainer.current_epoch), on_step=False, on_epoch=True, rank_zero_only=True)
        return self.head(self.dropout(self.embedding(batch["input_ids"]))).square().mean() + self.head.bias.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


class LoggingRoleModule(RoleModule):
    """The project's own module on a minute random Llama, three adapters with dropout."""

    def __init__(self, base: Path, log: Path) -> None:
        super().__init__(str(base), quantization="none", lora=LoraSettings(r=2, alpha=4, dropout=0.2), lr=1e-2)
        self.log_file = log

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        log_step(self, batch, batch_idx, self.log_file)
        return super().training_step(batch, batch_idx)  # type: ignore[arg-type]


class SaveEveryBatch(Callback):
    """Writes a checkpoint after each batch, also between two optimiser steps."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.directory / CHECKPOINT)


def fit(
    data_dir: Path,
    run_dir: Path,
    log: str,
    *,
    own: bool,
    devices: int = 1,
    sharded: bool = False,
    workers: int = 0,
    mastery: bool = False,
) -> None:
    """Trains three stages from where a checkpoint says, or from the start, and saves the final weights."""
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    log_file = run_dir / log
    module = LoggingRoleModule(data_dir / "model", log_file) if own else Learner(log_file)
    growth: Growth | None = Mastery("error", threshold=0.5, patience=None, max_epochs=1) if mastery else None
    data = SubtaskDataModule(
        data_dir / "trajectories.jsonl",
        base_model=data_dir / "model",
        tokens_per_batch=200,
        val_share=0.0,
        growth=growth,
        num_workers=workers,
        cache_dir=data_dir / "tokens",
    )
    trainer = Trainer(
        accelerator="cpu",
        accumulate_grad_batches=ACCUMULATE,
        callbacks=[SubtaskCurriculum(), ExactResume(), SaveEveryBatch(run_dir)],
        default_root_dir=run_dir,
        devices=devices,
        strategy=ShardedStrategy() if sharded else "ddp" if devices > 1 else "auto",
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=3,
        reload_dataloaders_every_n_epochs=1,
    )
    checkpoint = run_dir / CHECKPOINT
    trainer.fit(module, data, ckpt_path=checkpoint if checkpoint.exists() else None)
    assert trainer.global_step == data.total_optimizer_steps()
    trained = {name: whole(p.detach()) for name, p in module.named_parameters() if p.requires_grad or ".lora_" in name}
    if trainer.is_global_zero:
        torch.save(trained, run_dir / FINAL)


@pytest.fixture(scope="module")
def data_dir(
    make_trajectory: Callable[..., Trajectory], tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("data")
    (directory / "model").symlink_to(tiny_model)
    write_trajectories(
        directory / "trajectories.jsonl",
        [make_trajectory(n, task_id=f"{i % 3:07x}_{i}", words=3 * n) for i, n in enumerate(SUB_TASKS)],
    )
    return directory


def start_forked(data_dir: Path, run_dir: Path, log: str, **settings: Any) -> Any:
    """Trains in a fork of this process, which has imported everything already."""
    run_dir.mkdir(exist_ok=True)
    process = multiprocessing.get_context("fork").Process(
        target=fit, args=(data_dir, run_dir, log), kwargs={"own": True, **settings}
    )
    process.start()
    return process


def start_pair(data_dir: Path, run_dir: Path, log: str, **settings: Any) -> subprocess.Popen[bytes]:
    """Trains on two processes, in a process group of their own."""
    run_dir.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(Path(prost_lightning.__file__).parents[1])}
    command = [sys.executable, __file__, str(data_dir), str(run_dir), log, json.dumps(settings)]
    with (run_dir / f"{log}.out").open("wb") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)


def steps(run_dir: Path, log: str, rank: int = 0) -> list[Any]:
    file = run_dir / f"{log}.rank{rank}"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("]")]


def batches_done(run_dir: Path) -> int:
    checkpoint = run_dir / CHECKPOINT
    if not checkpoint.exists():
        return 0
    loops = torch.load(checkpoint, weights_only=False)["loops"]["fit_loop"]
    return int(loops["epoch_loop.batch_progress"]["total"]["processed"])


def assert_same_weights(run_dir: Path, undisturbed: Path) -> None:
    ours, theirs = (torch.load(directory / FINAL) for directory in (run_dir, undisturbed))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert torch.equal(weight, theirs[name]), name


def wait_for_batches(file: Path, count: int, alive: Callable[[], bool], seconds: float = 300) -> None:
    """Waits until so many batches were begun; by progress and not by the clock, which a busy machine makes useless."""
    limit = time.monotonic() + seconds
    while alive() and time.monotonic() < limit and not (file.exists() and file.read_bytes().count(b"\n") >= count):
        time.sleep(0.002)


@pytest.mark.slow
def test_two_processes_share_every_epoch_and_grow_in_step(data_dir: Path, tmp_path: Path) -> None:
    """Mastery by a metric of rank zero: gloo, ranks disjoint, together complete, equally many batches."""
    pair = start_pair(data_dir, tmp_path, "run", devices=2, mastery=True)
    assert pair.wait(timeout=300) == 0, (tmp_path / "run.out").read_text()
    ranks = [steps(tmp_path, "run", rank) for rank in (0, 1)]
    schedule = [[step[:4] for step in rank] for rank in ranks]
    assert schedule[0] == schedule[1]
    for epoch in range(3):
        stage = epoch + 1
        batches = [[step for step in rank if step[0] == epoch] for rank in ranks]
        assert [step[1] for step in batches[0]] == list(range(batches[0][0][2]))
        assert {step[3] for step in batches[0]} == {stage}
        trained = [tuple(item) for rank in batches for step in rank for item in step[4]]
        expected = {
            (trajectory, role, position)
            for trajectory, n in enumerate(SUB_TASKS)
            for role in ("orchestrator", "executor", "critic")
            for position in range(1, min(stage, n) + 1)
        }
        assert len(trained) == len(set(trained))
        assert set(trained) == expected


@pytest.mark.slow
def test_killed_at_twenty_random_moments(data_dir: Path, tmp_path: Path) -> None:
    """Each killed and resumed run has trained on the same items in the same order, to bit-identical adapters."""
    undisturbed = tmp_path / "undisturbed"
    process = start_forked(data_dir, undisturbed, "run")
    process.join(300)
    assert process.exitcode == 0
    expected = steps(undisturbed, "run")

    where = []
    for index in range(20):
        workers = 2 if index % 4 == 3 else 0
        moment = random.Random(index)
        for attempt in count():
            run_dir = tmp_path / f"killed{index}-{attempt}"
            killed = start_forked(data_dir, run_dir, "killed", workers=workers)
            wait_for_batches(run_dir / "killed.rank0", moment.randint(1, len(expected) - 1), killed.is_alive)
            killed.join(moment.uniform(0, 0.1))
            killed.kill()  # SIGKILL
            killed.join()
            done = batches_done(run_dir)
            if killed.exitcode == -signal.SIGKILL and done < len(expected):
                break  # else its end came first
        where.append(done)
        resumed = start_forked(data_dir, run_dir, "resumed", workers=workers)
        resumed.join(300)
        assert resumed.exitcode == 0, index
        assert steps(run_dir, "killed")[:done] + steps(run_dir, "resumed") == expected, (index, done)
        assert_same_weights(run_dir, undisturbed)
    print(f"{len(expected)} batches; killed after {sorted(where)}")
    assert len(set(where)) > 5


@pytest.mark.slow
@pytest.mark.parametrize(("sharded", "kills"), [(False, 4), (True, 1)])
def test_a_pair_killed_at_random_moments(data_dir: Path, tmp_path: Path, sharded: bool, kills: int) -> None:
    """The same with two processes that train together, which die together."""
    undisturbed = tmp_path / "undisturbed"
    settings = {"devices": 2, "sharded": sharded, "own": sharded}
    pair = start_pair(data_dir, undisturbed, "run", **settings)
    assert pair.wait(timeout=300) == 0, (undisturbed / "run.out").read_text()
    expected = [steps(undisturbed, "run", rank) for rank in (0, 1)]

    where = []
    for index in range(kills):
        moment = random.Random(index)
        for attempt in count():
            run_dir = tmp_path / f"killed{index}-{attempt}"
            killed = start_pair(data_dir, run_dir, "killed", **settings)
            batches = moment.randint(1, len(expected[0]) - 1)
            wait_for_batches(run_dir / "killed.rank0", batches, lambda: killed.poll() is None)  # noqa: B023
            time.sleep(moment.uniform(0, 0.1))
            if killed.poll() is None:
                os.killpg(killed.pid, signal.SIGKILL)
            exit_code, done = killed.wait(), batches_done(run_dir)
            in_accumulation = done % ACCUMULATE > 0
            if exit_code == -signal.SIGKILL and done < len(expected[0]) and (in_accumulation or kills > 1):
                break  # else its end came first, or no gradients would have to be restored
        where.append(done)
        resumed = start_pair(data_dir, run_dir, "resumed", **settings)
        assert resumed.wait(timeout=300) == 0, (run_dir / "resumed.out").read_text()
        for rank in (0, 1):
            assert steps(run_dir, "killed", rank)[:done] + steps(run_dir, "resumed", rank) == expected[rank], index
        assert_same_weights(run_dir, undisturbed)
    print(f"{len(expected[0])} batches a rank; killed after {sorted(where)}")


if __name__ == "__main__":
    fit(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], **{"own": False, **json.loads(sys.argv[4])})
