"""Activation checkpointing: activations computed again in the backward pass instead of kept."""

from __future__ import annotations

from typing import Literal

from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

ActivationCheckpointing = Literal["none", "selective", "full"]


def checkpoint_activations(base: PreTrainedModel, choice: ActivationCheckpointing) -> None:
    """Sets which decoder layers keep only their input, and compute the rest again in the backward pass.

    ``selective`` takes every second layer: about half the memory saved, for half the computation. That works with
    ``torch.compile``, unlike a policy for single operations, which sees nothing of a compiled layer.

    Args:
        base: The model, before or after adapters are put on it; changed in place.
        choice: ``none``, ``selective`` or ``full`` (all layers).
    """
    if choice == "none":
        return
    base.gradient_checkpointing_enable({"use_reentrant": False})
    if choice == "selective":
        for layer in _layers(base)[1::2]:
            layer.gradient_checkpointing = False


def recomputed_share(base: PreTrainedModel) -> float:
    """Share of the layers that are computed twice, 0 to 1."""
    layers = _layers(base)
    return sum(bool(layer.gradient_checkpointing) for layer in layers) / max(1, len(layers))


def _layers(base: PreTrainedModel) -> list[GradientCheckpointingLayer]:
    return [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]
