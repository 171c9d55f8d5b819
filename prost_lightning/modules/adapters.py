"""Which adapter is active: switched for each micro-batch, without copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch.nn import Parameter


class AdapterSwitch:
    """Makes one of several adapters the active one, and knows the weights of each.

    PEFT's own ``set_adapter`` walks through all modules and takes ``requires_grad`` away from the other adapters. Here
    every adapter's weights keep it: those that a forward pass does not use get no gradient anyway, and wrappers such as
    DDP register all of them.

    Args:
        model: A base with adapters.
    """

    def __init__(self, model: PeftModel) -> None:
        self._model = model
        self._tuner: Any = model.base_model
        self._layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        self.parameters: dict[str, dict[str, Parameter]] = {
            role: {name: weight for name, weight in model.named_parameters() if f".{role}." in name}
            for role in model.peft_config
        }
        """Each role's weights, by their names in the model."""
        self.train_all()

    def train_all(self) -> None:
        """Makes the weights of all adapters trainable; playing episodes (``set_adapter``) leaves only one's so."""
        for weights in self.parameters.values():
            for weight in weights.values():
                weight.requires_grad_(True)

    def activate(self, role: str) -> None:
        """Makes a role's adapter the only active one.

        Args:
            role: Name of an adapter.
        """
        for weight in self.parameters[role].values():
            weight.requires_grad_(True)
        for layer in self._layers:
            layer._active_adapter = [role]
        self._tuner.active_adapter = role
        self._model.active_adapter = role


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Draws random numbers from a seed made of ``parts``, and leaves PyTorch's random state as it was."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices):
        torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        yield
