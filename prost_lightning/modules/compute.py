"""Options that change how fast training is and how much memory it takes, and not what is learnt."""

from __future__ import annotations

from dataclasses import dataclass

from prost_lightning.modules.checkpointing import ActivationCheckpointing
from prost_lightning.modules.compilation import Compile
from prost_lightning.modules.losses import Loss
from prost_lightning.modules.packed_attention import Attention


@dataclass(frozen=True)
class ComputeSettings:
    """How training is computed; docs/training.md says when to choose what.

    Attributes:
        attention: ``varlen`` is PyTorch's variable-length flash attention (NVIDIA GPUs), ``sdpa`` computes sequence by
            sequence; ``auto`` takes the first that runs.
        loss: How the cross-entropy of the labelled tokens is computed. ``plain`` with all their logits, ``chunked``
            with a piece of them at a time, ``fused`` with PyTorch's own chunked function, ``liger`` with Liger's kernel
            (GPUs); ``auto`` is ``chunked``.
        activation_checkpointing: Which decoder layers compute their activations again in the backward pass instead of
            keeping them: ``none``, every second one (``selective``), or all (``full``, about a third slower).
        compile: ``none``, or the mode in which ``torch.compile`` compiles the decoder layers.
    """

    attention: Attention = "auto"
    loss: Loss = "auto"
    activation_checkpointing: ActivationCheckpointing = "none"
    compile: Compile = "none"
