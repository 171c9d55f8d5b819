"""Cross-entropy of the labelled tokens, without all their logits in memory at once.

With a vocabulary of 150,000, the logits of 8,000 tokens and their gradient take 7 GB in float32. The head is frozen, so
all that the backward pass needs is the gradient for its input, as small as the hidden states.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig

from prost_lightning.errors import UserError

Loss = Literal["auto", "plain", "chunked", "fused", "liger"]

# Settings of transformers' models for what happens to logits after the head, and values that change nothing.
_AFTER_THE_HEAD: dict[str, float | None] = {
    "final_logit_softcapping": None,  # Gemma 2
    "logit_scale": 1.0,  # Cohere
    "logits_scaling": 1.0,  # Granite
    "lm_head_multiplier": 1.0,  # Falcon-H1
}

CHUNK_LOGITS = 2**26
"""Most logits that ``chunked`` has in memory at once: 256 MiB in float32."""


def check_loss(choice: Loss, head: nn.Module, device: torch.device) -> None:
    """Refuses a way to compute the loss that cannot be gone.

    Args:
        choice: See :func:`summed_cross_entropy`.
        head: The output layer.
        device: Where the model is.

    Raises:
        UserError: One sentence says why, and what to choose.
    """
    if choice not in ("auto", "plain") and not _is_frozen_linear(head):
        raise UserError(
            f"model.compute.loss={choice} needs a frozen linear output head, and this one is a {type(head).__name__}; "
            "choose auto or plain."
        )
    if choice == "fused" and not hasattr(nn, "LinearCrossEntropyOptions"):
        raise UserError(f"model.compute.loss=fused needs torch 2.13, and this is {torch.__version__}; choose chunked.")
    if choice == "liger":
        if device.type != "cuda":
            raise UserError(
                f"model.compute.loss=liger needs a GPU, and the model is on {device.type}; choose auto or chunked."
            )
        if find_spec("liger_kernel") is None:
            raise UserError(
                "model.compute.loss=liger needs the package liger-kernel; `pip install liger-kernel`, or choose auto."
            )


def check_logits(config: PretrainedConfig) -> None:
    """Refuses models that scale or cap what their head puts out: losses here are computed from the head alone.

    Args:
        config: The model's.

    Raises:
        UserError: One sentence names the setting.
    """
    settings = config.get_text_config().to_dict()
    for name, neutral in _AFTER_THE_HEAD.items():
        value = settings.get(name)
        if value not in (None, neutral):
            raise UserError(
                f"model.base_model: {config.model_type} models scale or cap their logits ({name}={value}), which the "
                "loss here would leave out; choose a model without it, such as Qwen2.5, Llama or SmolLM2."
            )


def summed_cross_entropy(hidden: Tensor, head: nn.Module, targets: Tensor, choice: Loss = "auto") -> Tensor:
    """Sum of the cross-entropies of N tokens, in float32.

    Args:
        hidden: (N, hidden size) states that predict the tokens.
        head: The output layer.
        targets: (N,) token ids.
        choice: ``plain`` computes all logits. ``chunked`` goes through the tokens in pieces, with the same operations
            (``auto`` does, except for a head that is trained). ``fused`` is PyTorch's own ``linear_cross_entropy``, in
            which sum and gradients are as exact as the model's type. ``liger`` is Liger's kernel.
    """
    if len(targets) == 0:
        return hidden.float().sum()  # zero, and part of the graph
    if choice == "plain" or not _is_frozen_linear(head):
        return F.cross_entropy(head(hidden).float(), targets, reduction="sum")
    linear = cast(nn.Linear, head)
    hidden = hidden.to(linear.weight.dtype)
    if choice == "fused":
        return _fused(hidden, linear, targets)
    if choice == "liger":
        return _liger(hidden, linear, targets)
    rows = max(1, CHUNK_LOGITS // linear.weight.shape[0])
    total: Tensor = _ChunkedCrossEntropy.apply(hidden, linear.weight, linear.bias, targets, rows)  # type: ignore[no-untyped-call]
    return total


def _is_frozen_linear(head: Any) -> bool:
    return type(head) is nn.Linear and not any(parameter.requires_grad for parameter in head.parameters())


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes the gradient for the hidden states while each piece's logits are there, so that none is kept."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rows: int) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(targets), rows):
            piece = slice(start, start + rows)
            wanted = targets[piece, None]
            logits = F.linear(hidden[piece], weight, bias).float()
            normaliser = logits.logsumexp(dim=1, keepdim=True)
            total += (normaliser - logits.gather(1, wanted)).sum()
            if gradient is not None:
                # d(loss)/d(logits) = softmax - onehot(target)
                probabilities = logits.sub_(normaliser).exp_()
                probabilities.scatter_add_(1, wanted, probabilities.new_full((1, 1), -1.0).expand_as(wanted))
                torch.mm(probabilities.to(weight.dtype), weight, out=gradient[piece])
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0].to(gradient.dtype), None, None, None, None


def _fused(hidden: Tensor, head: nn.Linear, targets: Tensor) -> Tensor:
    """PyTorch's; as a mean, since it returns the model's type, in which a sum over thousands would be rounded badly."""
    mean: Tensor = F.linear_cross_entropy(
        hidden,
        head.weight,
        targets,
        linear_bias=head.bias,
        reduction="mean",
        options=torch.nn.LinearCrossEntropyOptions(),
    )
    return mean.float() * len(targets)


def _liger(hidden: Tensor, head: nn.Linear, targets: Tensor) -> Tensor:
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss: Tensor = LigerFusedLinearCrossEntropyLoss(reduction="sum")(head.weight, hidden, targets, head.bias)
    return loss.float()
