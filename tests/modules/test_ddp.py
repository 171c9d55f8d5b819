"""Two processes train as one does that accumulates twice as long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

TEAM = ("orchestrator", "executor", "critic")
STEPS = ("executor", "critic", "executor", "orchestrator")


def micro_batches(rank: int, ranks: int) -> list[dict[str, Any]]:
    """One rank's part of steps of two micro-batches each, the second of which is shorter, or empty."""
    batches = []
    for step, role in enumerate(STEPS):
        lengths = (24, 10 if step else 1)
        generator = torch.Generator().manual_seed(step)
        parts = []
        for length in lengths:
            ids = torch.randint(3, 500, (1, length), generator=generator)
            positions = torch.arange(length)[None]
            labels = ids.masked_fill(positions < length // 2, -100) if length > 1 else torch.full((1, 1), -100)
            parts.append({"role": role, "input_ids": ids, "position_ids": positions, "labels": labels})
        supervised = sum(int((part["labels"] != -100).sum()) for part in parts)
        batches += [part | {"step_supervised_tokens": supervised} for part in parts][rank::ranks]
    return batches


def train(model: str, ranks: int, file: str) -> None:
    """Trains, and writes the adapters; started once for each rank."""
    from lightning.pytorch import Trainer, seed_everything
    from torch.utils.data import DataLoader

    from prost_lightning.modules.qlora import LoraSettings
    from prost_lightning.modules.role_module import RoleModule

    seed_everything(3)
    torch.set_num_threads(1)
    module = RoleModule(model, TEAM, quantization="none", lora=LoraSettings(r=4), lr=1e-2)
    batches = micro_batches(int(os.environ.get("RANK", 0)), ranks)
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp_find_unused_parameters_true" if ranks > 1 else "auto",
        max_epochs=1, accumulate_grad_batches=2 // ranks, gradient_clip_val=0.5, use_distributed_sampler=False,
        logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=str(Path(file).parent),
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    assert trainer.global_step == len(STEPS)
    if trainer.is_global_zero:
        torch.save({name: weight.detach() for name, weight in module._lora_parameters().items()}, file)


@pytest.mark.slow
def test_two_ranks_train_as_one_process_that_accumulates(tiny_model: Path, tmp_path: Path) -> None:
    for ranks in (1, 2):
        command = [sys.executable, __file__, str(tiny_model), str(ranks), str(tmp_path / f"{ranks}.pt")]
        if ranks > 1:
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
            command = launcher + command[1:]
        subprocess.run(command, check=True, timeout=600)
    one, two = (torch.load(tmp_path / f"{ranks}.pt") for ranks in (1, 2))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), sys.argv[3])
