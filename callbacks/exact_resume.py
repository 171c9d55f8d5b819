"""What Lightning leaves out of a checkpoint, and without which a resumed run is not quite the same run."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.distributed.tensor import DTensor
from typing_extensions import override


class ExactResume(Callback):
    """Adds the random state, and the gradients of an unfinished accumulation, to every checkpoint.

    With both, a run that is killed and resumed ends with the same weights as one that is not, dropout and
    ``accumulate_grad_batches`` included. Without accumulation no gradients are saved. Of several processes each has its
    own; with another number of them, or a model that is sharded now and was not then, a run goes on without, which is
    said.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] = []  # of each process

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state: dict[str, Any] = {
            "python": random.getstate(),
            "numpy": _numpy_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "gradients": {},
            "sharded": _is_sharded(pl_module),
        }
        if trainer.accumulate_grad_batches > 1:
            # Saved even just after a step: Lightning clears them before it begins the next accumulation.
            state["gradients"] = {
                name: _local(parameter.grad).cpu().clone()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }
        checkpoint[self.state_key] = _of_all_processes(state, trainer)

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._restored = checkpoint.get(self.state_key, [])

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not earlier: building optimisers and loaders draws random numbers and clears gradients.
        states, self._restored = self._restored, []
        if not states:
            return
        if len(states) != trainer.world_size or states[0]["sharded"] != _is_sharded(pl_module):
            rank_zero_warn(
                "The checkpoint is of another number of processes, or of another way to share the model, so that "
                "training does not go on exactly as it would have: random numbers are others, and an unfinished "
                "accumulation begins anew."
            )
            return
        state = states[trainer.global_rank]
        for name, parameter in pl_module.named_parameters():
            if name in state["gradients"]:
                parameter.grad = _like(parameter, state["gradients"][name].to(parameter.device))
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def _of_all_processes(state: dict[str, Any], trainer: Trainer) -> list[dict[str, Any]]:
    """The states of all processes on the first, which writes the checkpoint; nothing on the others."""
    if trainer.world_size == 1:
        return [state]
    states: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(state, states)
    return states or []


def _is_sharded(module: LightningModule) -> bool:
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def _local(tensor: Tensor) -> Tensor:
    """This process's piece of a sharded tensor; any other tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _like(parameter: Tensor, piece: Tensor) -> Tensor:
    """A piece as a part of a tensor that is sharded as a parameter is, if it is."""
    if not isinstance(parameter, DTensor):
        return piece
    return DTensor.from_local(
        piece, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def _numpy_state() -> tuple[str, list[int], int, int, float]:
    """NumPy's random state in plain types, which `torch.load` takes with `weights_only=True`."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return str(name), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)
