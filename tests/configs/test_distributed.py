"""The commands of docs/distributed.md, on two CPU processes and a minute base."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from prost_lightning.trajectory import Trajectory, write_trajectories

ROOT = Path(__file__).parents[2]
LAUNCHERS = {
    "lightning": ["-m"],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"],
}


def fit(directory: Path, launcher: str, config: str, *options: str) -> dict[str, torch.Tensor]:
    """Trains in the run directory ``launcher-config``; returns the adapters that it exports, by role and name."""
    run_dir = directory / f"{launcher}-{config}"
    configs = ["configs/quickstart.yaml", str(directory / "small.yaml"), f"configs/distributed/{config}.yaml"]
    command = [sys.executable, *LAUNCHERS[launcher], "prost_lightning", "fit"]
    command += [word for path in configs for word in ("--config", path)]
    command += ["--trainer.accelerator=cpu", "--trainer.devices=2", f"--run_dir={run_dir}", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    summary = json.loads((run_dir / "summary.json").read_text())
    planned = sum(stage["pool_tokens"] for stage in summary["stages"])
    # Of all processes; a micro-batch that is left empty has one token.
    assert planned <= summary["trained_tokens"] <= 1.02 * planned
    assert len(list(run_dir.glob("metrics*.csv"))) == 1  # one process writes them, and sets aside what was there
    files = sorted((run_dir / "adapters").glob("*/adapter_model.safetensors"))
    assert len(files) == 3
    return {f"{file.parent.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.slow
def test_either_launcher_and_either_way_of_sharing_train_the_same(
    make_trajectory: Callable[..., Trajectory], tiny_model: Path, tmp_path: Path
) -> None:
    """And a run that shares the base goes on from a checkpoint of one that does not, in the middle of an epoch."""
    trajectories = tmp_path / "trajectories.jsonl"
    write_trajectories(trajectories, [make_trajectory(3, task_id=f"000000{i}_1", words=9) for i in range(6)])
    callbacks = ["SubtaskCurriculum", "ExactResume", "EfficiencyMonitor", "AdapterExport", "RunSummary"]
    checkpoint = {"dirpath": "${run_dir}/checkpoints", "filename": "{step}", "every_n_train_steps": 5, "save_top_k": -1}
    small = {
        "model": {"base_model": str(tiny_model), "lora": {"r": 4, "alpha": 8}},
        "data": {"prepare": None, "trajectories": str(trajectories), "cache_dir": str(tmp_path / "tokens")},
        "trainer": {
            "accumulate_grad_batches": 2,
            "max_epochs": 2,
            "enable_progress_bar": False,
            "logger": [
                {
                    "class_path": "lightning.pytorch.loggers.CSVLogger",
                    "init_args": {"save_dir": "${run_dir}", "name": None, "version": ""},
                }
            ],
            "callbacks": [
                *({"class_path": f"prost_lightning.callbacks.{name}"} for name in callbacks),
                {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": checkpoint},
            ],
        },
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))

    expected = fit(tmp_path, "lightning", "ddp")
    torch.testing.assert_close(fit(tmp_path, "torchrun", "ddp"), expected, rtol=0, atol=0)
    torch.testing.assert_close(fit(tmp_path, "torchrun", "fsdp"), expected, rtol=1e-4, atol=1e-5)
    half = tmp_path / "torchrun-ddp" / "checkpoints" / "step=5.ckpt"
    resumed = fit(tmp_path, "lightning", "fsdp", f"--ckpt_path={half}")
    torch.testing.assert_close(resumed, expected, rtol=1e-4, atol=1e-5)
