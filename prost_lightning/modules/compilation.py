"""``torch.compile`` for the decoder's layers, one graph for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

Compile = Literal["none", "default", "max-autotune-no-cudagraphs"]


def compile_layers(
    base: PreTrainedModel, mode: Compile, *, adapters: int, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Compiles each decoder layer, so that all layers share a graph and compiling takes as long as for one.

    Each adapter gets a graph of its own when it is first used, in training and in validation; after that, switching
    between them compiles nothing. Sequence lengths are symbolic. Modes with CUDA graphs are not offered: they want
    fixed shapes, and the length of a packed batch varies.

    Args:
        base: The model with its adapters; its layers are changed in place.
        mode: A mode of ``torch.compile``; ``none`` does nothing.
        adapters: How many adapters take turns.
        backend: Of ``torch.compile``.
    """
    if mode == "none":
        return
    # Per adapter: with and without gradients, and some for layers that differ. Beyond the limit nothing is compiled.
    needed = 8 * adapters
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, needed)
    for layer in decoder_layers(base):
        layer.compile(backend=backend, mode=None if mode == "default" else mode, dynamic=True)


def decoder_layers(base: PreTrainedModel) -> list[nn.Module]:
    """The layers that repeat."""
    return [module for module in base.modules() if isinstance(module, GradientCheckpointingLayer)]
