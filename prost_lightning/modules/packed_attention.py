"""Attention over several sequences packed into one row, each on its own.

A packed row of T tokens needs attention only within each sequence. A dense T x T mask pays for all pairs and rules the
flash kernels out (on two CPU cores, attention was then 40% of a training step at T = 1024). Here the row is split at
the sequence boundaries and each part gets plain causal attention, without a mask: exact, cheaper, on every device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# The name under which models select it (``attn_implementation=...``). Without ``sequence_lengths`` it is PyTorch's
# scaled dot-product attention with the usual masks, so that the same model also generates.
PER_SEQUENCE_ATTENTION = "prost_per_sequence"


def per_sequence_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    sequence_lengths: list[int] | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention function for ``transformers``.

    Args:
        module: The attention layer.
        query: (1, heads, T, head size) where sequences are packed.
        key: (1, key/value heads, T, head size).
        value: As ``key``.
        attention_mask: Used where ``sequence_lengths`` is None; else ignored.
        sequence_lengths: Tokens of each packed sequence, in order; they add up to T.
        **options: What ``transformers`` passes on (scaling, dropout, sliding window, ...).

    Returns:
        Attention output (1, T, heads, head size), and None for the weights.
    """
    if sequence_lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    window = options.get("sliding_window")
    if window is not None and max(sequence_lengths) > window:
        raise ValueError(f"a packed sequence of {max(sequence_lengths)} tokens exceeds the sliding window of {window}")
    parts = zip(*(torch.split(states, sequence_lengths, dim=2) for states in (query, key, value)), strict=True)
    outputs = [sdpa_attention_forward(module, q, k, v, None, **options)[0] for q, k, v in parts]
    return torch.cat(outputs, dim=1), None


AttentionInterface.register(PER_SEQUENCE_ATTENTION, per_sequence_attention)
AttentionMaskInterface.register(PER_SEQUENCE_ATTENTION, sdpa_mask)


def packed_hidden_states(decoder: nn.Module, input_ids: Tensor, position_ids: Tensor) -> Tensor:
    """Runs a decoder over packed sequences.

    Args:
        decoder: A ``transformers`` decoder without its head, loaded with :data:`PER_SEQUENCE_ATTENTION`.
        input_ids: (1, T) tokens of all sequences, one after the other.
        position_ids: (1, T) positions that start at 0 again with each sequence.

    Returns:
        (1, T, hidden size) last hidden states.
    """
    # A mask that is already four-dimensional is passed through untouched, so that no T x T mask is built.
    unused_mask = input_ids.new_zeros(1, 1, 1, 1, dtype=torch.bool)
    hidden: Tensor = decoder(
        input_ids=input_ids,
        attention_mask=unused_mask,
        position_ids=position_ids,
        use_cache=False,
        sequence_lengths=sequence_lengths(position_ids),
    ).last_hidden_state
    return hidden


def sequence_lengths(position_ids: Tensor) -> list[int]:
    """Lengths of the packed sequences, from (1, T) position ids that start at 0 again with each sequence."""
    starts = (position_ids[0] == 0).nonzero().flatten().tolist()
    ends = [*starts[1:], position_ids.shape[1]]
    return [end - start for start, end in zip(starts, ends, strict=True)]
