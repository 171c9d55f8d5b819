"""A base in two pieces trains as a whole one does. On CPU processes; no GPU was seen yet."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from lightning.pytorch import Trainer
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from prost_lightning.errors import UserError
from prost_lightning.modules.qlora import LoraSettings, add_adapters, load_base
from prost_lightning.modules.role_module import RoleModule
from prost_lightning.modules.sharding import ShardedStrategy, shard_layers


def processes() -> ModuleType:
    """The runs of test_ddp.py."""
    spec = importlib.util.spec_from_file_location("processes", Path(__file__).with_name("test_ddp.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(("quantization", "checkpointing"), [("none", "none"), ("nf4", "full")])
def test_two_pieces_train_as_one_whole(tiny_model: Path, tmp_path: Path, quantization: str, checkpointing: str) -> None:
    """Through a checkpoint, accumulation against ranks, clipping, an empty micro-batch, and the export."""
    run = processes().run
    one = run(tiny_model, 1, "auto", tmp_path / "one", quantization=quantization)
    two = run(
        tiny_model, 2, "sharded", tmp_path / "two", quantization=quantization, activation_checkpointing=checkpointing
    )
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"optimizer": "adamw_8bit"}, "model.optimizer=adamw_8bit .* choose adamw"),
        ({"compute": {"compile": "default"}}, "model.compute.compile=default is not supported .* choose none"),
    ],
)
def test_what_a_sharded_model_cannot_do_is_refused(settings: dict[str, object], sentence: str) -> None:
    from prost_lightning.modules.compute import ComputeSettings

    compute = settings.pop("compute", {})
    module = RoleModule(**settings, compute=ComputeSettings(**compute))  # type: ignore[arg-type]
    trainer = Trainer(accelerator="cpu", devices=1, strategy=ShardedStrategy(), logger=False)
    module._trainer = trainer
    with pytest.raises(UserError, match=sentence):
        module.setup("fit")


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A line of one process."""
    if torch.distributed.is_initialized():  # some other test has left its group behind
        torch.distributed.destroy_process_group()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def test_adapters_outside_the_layers_are_refused(tiny_model: Path, mesh: DeviceMesh) -> None:
    base = load_base(tiny_model, "none")
    network = add_adapters(base, ("executor",), LoraSettings(r=2, target_modules=["q_proj", "embed_tokens"]))
    with pytest.raises(UserError, match="decoder layers only; leave out the embeddings"):
        shard_layers(network, mesh)


def test_a_sharded_model_plays_no_episodes(tiny_model: Path, mesh: DeviceMesh) -> None:
    module = RoleModule(str(tiny_model), quantization="none", lora=LoraSettings(r=2))
    strategy = ShardedStrategy()
    strategy.__dict__["mesh"] = mesh  # of the one process, without the launcher
    module._trainer = Trainer(accelerator="cpu", devices=1, strategy=strategy, logger=False)
    with pytest.raises(UserError, match="a sharded model cannot play episodes"):
        module.policy()
