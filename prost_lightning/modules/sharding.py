"""The base in pieces: each process keeps a part of every decoder layer (PyTorch's ``fully_shard``, known as FSDP2).

A layer is put together from all processes before it computes, and let go afterwards. Adapters and the optimiser's
states are in pieces too. Embeddings and head stay whole everywhere. Checkpoints and exports hold whole adapters, the
same as without sharding, so that a run may go on with another number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit
from lightning.pytorch.strategies import DDPStrategy
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from typing_extensions import override

from prost_lightning.errors import UserError
from prost_lightning.modules.compilation import Compile, decoder_layers
from prost_lightning.modules.optimizers import OptimizerName


class ShardedStrategy(DDPStrategy):
    """Lightning's processes as in DDP, over a module whose layers are sharded by :func:`shard_layers`.

    Gradients come together in the layers themselves, as the mean over processes, so nothing is wrapped.
    """

    @cached_property
    def mesh(self) -> DeviceMesh:
        """All processes in one line."""
        return init_device_mesh(self.root_device.type, (self.world_size,))

    @override
    def configure_ddp(self) -> None:
        """Wraps nothing."""

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Empty: the module adds what belongs into a checkpoint itself (:func:`whole`)."""
        return {}

    @override
    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        state: dict[str, Any] = super().optimizer_state(optimizer)
        state["state"] = {
            index: {name: whole(value) for name, value in values.items()} for index, values in state["state"].items()
        }
        return state

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        parameters = dict(self.lightning_module.named_parameters())
        pieces = {name: piece_like(value, parameters[name]) for name, value in checkpoint["state_dict"].items()}
        super().load_model_state_dict({"state_dict": pieces}, strict)

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        states = []
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            pieces = {
                index: {name: piece_like(value, parameters[index]) for name, value in values.items()}
                for index, values in state["state"].items()
            }
            states.append({**state, "state": pieces})
        super().load_optimizer_state_dict({"optimizer_states": states})


def check_sharded_options(optimizer: OptimizerName, compile: Compile) -> None:
    """Refuses what does not work on a sharded model.

    Args:
        optimizer: Name of the optimiser.
        compile: Mode of compilation.

    Raises:
        UserError: One sentence says what to choose.
    """
    if optimizer != "adamw":
        raise UserError(
            f"model.optimizer={optimizer} cannot keep its states in pieces, as {ShardedStrategy.__name__} needs them; "
            "choose adamw."
        )
    if compile != "none":
        raise UserError(
            f"model.compute.compile={compile} is not supported with {ShardedStrategy.__name__}; choose none."
        )


def shard_layers(network: PeftModel, mesh: DeviceMesh) -> None:
    """Leaves each process its piece of every decoder layer, adapters included.

    Args:
        network: The base with its adapters, all trainable, whole and the same on each process; changed in place.
        mesh: The processes.

    Raises:
        UserError: Something is trained outside the decoder layers.
    """
    base: Any = network.get_base_model()
    decoder = base.get_decoder()
    layers = decoder_layers(decoder)
    for layer in layers:
        _forget_quantised_type(layer)
        fully_shard(layer, mesh=mesh)
        if mesh.device_type == "cpu":
            # Gloo cannot average while it adds up.
            layer.set_force_sum_reduction_for_comms(True)  # type: ignore[operator]
    whole_weights = {weight for weight in network.parameters() if not isinstance(weight, DTensor)}
    if any(weight.requires_grad for weight in whole_weights):
        raise UserError(
            f"lora.target_modules: {ShardedStrategy.__name__} trains adapters in decoder layers only; leave out the "
            "embeddings and the head."
        )
    # The root of all layers, which lets one be fetched while another computes.
    fully_shard(decoder, mesh=mesh, ignored_params=whole_weights)


def _forget_quantised_type(layer: nn.Module) -> None:
    """Makes 4-bit weights plain tensors, which can be cut; bitsandbytes gives them their type back in each forward."""
    for module in layer.modules():
        if isinstance(module, Linear4bit):
            weight: Any = module.weight
            module.quant_state = weight.quant_state
            module.weight = nn.Parameter(weight.data.as_subclass(torch.Tensor), requires_grad=False)


def whole(value: Any) -> Any:
    """Puts a sharded tensor together; all processes have to call it. Anything else is returned as it is."""
    return value.full_tensor().detach() if isinstance(value, DTensor) else value


def piece_like(value: Any, weight: Tensor) -> Any:
    """This process's piece of a whole tensor.

    Args:
        value: A tensor, the same on all processes. Anything that does not have the weight's shape is returned as it is.
        weight: Is cut in the same way, if it is cut at all.
    """
    if not isinstance(weight, DTensor) or not isinstance(value, Tensor) or value.shape != weight.shape:
        return value
    value = value.to(weight.device)
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
