"""Optimisers by name: PyTorch's AdamW, and bitsandbytes' with smaller or paged states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import bitsandbytes as bnb
import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from prost_lightning.errors import UserError

OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"]

_OPTIM: Any = bnb.optim
_BITSANDBYTES: dict[str, Callable[..., Optimizer]] = {
    "adamw_8bit": _OPTIM.AdamW8bit,
    "paged_adamw": _OPTIM.PagedAdamW,
    "paged_adamw_8bit": _OPTIM.PagedAdamW8bit,
}


def make_optimizer(
    name: OptimizerName, parameters: Mapping[str, Sequence[Parameter]], *, lr: float, weight_decay: float
) -> Optimizer:
    """Makes an optimiser with one parameter group a role.

    Those of inactive roles have no gradient in a step, and all these optimisers leave them alone then: no momentum, no
    weight decay, and each weight counts its own steps.

    Args:
        name: ``adamw`` is PyTorch's (its fused kernel on GPUs). ``adamw_8bit`` keeps its states in 8 bits: 2 bytes a
            trained weight instead of 8. The ``paged`` ones move them to the host's memory when the GPU's runs out, and
            need a GPU.
        parameters: Trained weights of each role.
        lr: Peak learning rate.
        weight_decay: Weight decay.

    Raises:
        UserError: The optimiser cannot run where the weights are.
    """
    groups: list[dict[str, Any]] = [{"params": list(of_role), "name": role} for role, of_role in parameters.items()]
    device = groups[0]["params"][0].device
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=device.type == "cuda")
    if name.startswith("paged") and device.type != "cuda":
        unpaged = "adamw_8bit" if name.endswith("8bit") else "adamw"
        raise UserError(
            f"model.optimizer={name} needs a GPU, whose memory it relieves, and the model is on {device.type}; choose "
            f"{unpaged}."
        )
    return _BITSANDBYTES[name](groups, lr=lr, weight_decay=weight_decay)
