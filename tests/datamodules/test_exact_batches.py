"""Packing, accumulation and ranks change how tokens are laid out, never what is learnt from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from prost_lightning.datamodules.collate import Batch, PackedDataset
from prost_lightning.datamodules.corpus import Corpus, load_corpus
from prost_lightning.datamodules.dataset import select
from prost_lightning.datamodules.sampler import MicroBatch, SubtaskCurriculumSampler
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.modules.qlora import LoraSettings, load_tokenizer
from prost_lightning.modules.role_module import RoleModule
from prost_lightning.trajectory import TEAM_ROLES, Trajectory, write_trajectories

Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def corpus(
    make_trajectory: Callable[..., Trajectory], tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Corpus:
    directory = tmp_path_factory.mktemp("data")
    file = directory / "trajectories.jsonl"
    write_trajectories(file, [make_trajectory(n, task_id=f"000000{n}_1", words=2 * n) for n in (1, 2, 3)])
    return load_corpus(file, load_tokenizer(tiny_model), cache_dir=directory / "cache")


@pytest.fixture(scope="module")
def table(corpus: Corpus) -> SequenceTable:
    return select(corpus, corpus.column("role") >= 0, roles=TEAM_ROLES, max_tokens=2048).table


@pytest.fixture(scope="module")
def module(tiny_model: Path) -> RoleModule:
    torch.manual_seed(0)
    module = RoleModule(str(tiny_model), quantization="none", lora=LoraSettings(r=4, alpha=8))
    module.configure_model()
    assert module.network is not None
    module.network.float()
    for name, parameter in module.network.named_parameters():
        if ".lora_B." in name:  # zero at first, which would leave the gradients of the others at zero
            torch.nn.init.normal_(parameter, std=0.1)
    return module


def plan(table: SequenceTable, **arguments: int) -> list[MicroBatch]:
    """Everything of the executor, in all micro-batches of a rank."""
    sampler = SubtaskCurriculumSampler(table, table.items.position, **{"tokens_per_batch": 4096} | arguments)
    sampler.set_stage(3)
    return [batch for batch in sampler if batch.role == "executor"]


def learn(module: RoleModule, batches: Sequence[Batch]) -> tuple[float, Gradients]:
    """The loss of one step, and the executor's gradients."""
    module.zero_grad()
    loss = 0.0
    for batch in batches:
        total, labels = module.loss(batch)
        assert labels == batch["supervised_tokens"]
        part = total / batch["step_supervised_tokens"]
        part.backward()
        loss += part.item()
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in module.named_parameters()
        if ".executor." in name and parameter.grad is not None
    }
    assert gradients
    return loss, gradients


def assert_equal(ours: tuple[float, Gradients], theirs: tuple[float, Gradients]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in ours[1].items():
        torch.testing.assert_close(gradient, theirs[1][name], rtol=1e-5, atol=1e-5, msg=name)


@pytest.fixture(scope="module")
def unpacked(module: RoleModule, table: SequenceTable, corpus: Corpus) -> tuple[float, Gradients]:
    """One sequence at a time."""
    (everything,) = plan(table)
    dataset = PackedDataset(corpus)
    alone = [dataset[MicroBatch("executor", (unit,), everything.step_supervised_tokens)] for unit in everything.units]
    assert len(alone) == 6
    return learn(module, alone)


def test_a_packed_batch_equals_its_sequences_one_by_one(
    module: RoleModule, table: SequenceTable, corpus: Corpus, unpacked: tuple[float, Gradients]
) -> None:
    (batch,) = plan(table)
    assert_equal(learn(module, [PackedDataset(corpus)[batch]]), unpacked)


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 4), (2, 1), (2, 2), (3, 3)])
def test_ranks_and_accumulation_equal_one_batch(
    module: RoleModule,
    table: SequenceTable,
    corpus: Corpus,
    unpacked: tuple[float, Gradients],
    world_size: int,
    accumulate: int,
) -> None:
    """All micro-batches of the one step, over ranks and accumulation, the empty ones of (3, 3) too."""
    batches = [
        batch
        for rank in range(world_size)
        for batch in plan(table, world_size=world_size, rank=rank, accumulate_grad_batches=accumulate)
    ]
    assert len(batches) == world_size * accumulate
    assert_equal(learn(module, [PackedDataset(corpus)[batch] for batch in batches]), unpacked)
