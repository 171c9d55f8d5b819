"""What Lightning leaves out of a checkpoint, and without which a resumed run is not quite the same run."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override


class ExactResume(Callback):
    """Adds the random state, and the gradients of an unfinished accumulation, to every checkpoint.

    With both, a run that is killed and resumed ends with the same weights as one that is not, dropout and
    ``accumulate_grad_batches`` included. Without accumulation no gradients are saved.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] = {}

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state: dict[str, Any] = {
            "python": random.getstate(),
            "numpy": _numpy_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "gradients": {},
        }
        if trainer.accumulate_grad_batches > 1:
            # Saved even just after a step: Lightning clears them before it begins the next accumulation.
            state["gradients"] = {
                name: parameter.grad.detach().clone()
                for name, parameter in pl_module.named_parameters()
                if parameter.grad is not None
            }
        checkpoint[self.state_key] = state

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._restored = checkpoint.get(self.state_key, {})

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not earlier: building optimisers and loaders draws random numbers and clears gradients.
        state, self._restored = self._restored, {}
        if not state:
            return
        for name, parameter in pl_module.named_parameters():
            if name in state["gradients"]:
                parameter.grad = state["gradients"][name].to(parameter.device)
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"])
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])


def _numpy_state() -> tuple[str, list[int], int, int, float]:
    """NumPy's random state in plain types, which `torch.load` takes with `weights_only=True`."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return str(name), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)
