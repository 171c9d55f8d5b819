"""Two processes train as one does that accumulates twice as long; test_sharding.py uses the same runs."""

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


def train(model: str, ranks: int, strategy: str, options: dict[str, Any], directory: str) -> None:
    """Trains two epochs, the second from a checkpoint of the first, and exports; started once for each rank."""
    from lightning.pytorch import Trainer, seed_everything
    from torch.utils.data import DataLoader

    from prost_lightning.callbacks import AdapterExport
    from prost_lightning.modules.compute import ComputeSettings
    from prost_lightning.modules.qlora import LoraSettings
    from prost_lightning.modules.role_module import RoleModule
    from prost_lightning.modules.sharding import ShardedStrategy

    torch.set_num_threads(1)
    batches = micro_batches(int(os.environ.get("RANK", 0)), ranks)
    compute = ComputeSettings(activation_checkpointing=options["activation_checkpointing"])
    checkpoint = Path(directory) / "half.ckpt"
    half = len(batches) // 2
    for epoch, start in enumerate((None, checkpoint)):
        seed_everything(3)
        module = RoleModule(
            model, TEAM, quantization=options["quantization"], lora=LoraSettings(r=4), lr=1e-2, lr_schedule="linear",
            warmup_share=0.0, final_lr_share=1.0, compute=compute,
        )  # fmt: skip
        trainer = Trainer(
            accelerator="cpu", devices=ranks, strategy=ShardedStrategy() if strategy == "sharded" else strategy,
            max_epochs=epoch + 1, accumulate_grad_batches=2 // ranks, gradient_clip_val=0.5, logger=False,
            use_distributed_sampler=False, enable_progress_bar=False, enable_model_summary=False,
            enable_checkpointing=False, default_root_dir=directory, callbacks=[AdapterExport()],
        )  # fmt: skip
        loader = DataLoader(batches[epoch * half : (epoch + 1) * half], batch_size=None)  # type: ignore[arg-type]
        trainer.fit(module, loader, ckpt_path=start, weights_only=False)
        assert trainer.global_step == (epoch + 1) * len(STEPS) // 2
        trainer.save_checkpoint(checkpoint)


def run(model: Path, ranks: int, strategy: str, directory: Path, **options: str) -> dict[str, torch.Tensor]:
    """Trains on so many processes, and returns the adapters by name, as they were exported."""
    import json

    from safetensors.torch import load_file

    options = {"quantization": "none", "activation_checkpointing": "none"} | options
    command = [sys.executable, __file__, str(model), str(ranks), strategy, json.dumps(options), str(directory)]
    if ranks > 1:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
        command = launcher + command[1:]
    subprocess.run(command, check=True, timeout=600)
    files = sorted((directory / "adapters").glob("*/adapter_model.safetensors"))
    return {f"{file.parent.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.slow
def test_two_ranks_train_as_one_process_that_accumulates(tiny_model: Path, tmp_path: Path) -> None:
    one = run(tiny_model, 1, "auto", tmp_path / "one")
    two = run(tiny_model, 2, "ddp_find_unused_parameters_true", tmp_path / "two")
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    import json

    train(sys.argv[1], int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]), sys.argv[5])
