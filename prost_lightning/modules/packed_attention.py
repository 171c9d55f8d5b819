"""Attention over several sequences packed into one row, each on its own.

A packed row of T tokens needs attention only within each sequence. A dense T x T mask pays for all pairs and rules the
flash kernels out (on two CPU cores, attention was then 40% of a training step at T = 1024). Two ways are exact:

* ``varlen``: one call of PyTorch's variable-length flash attention for all sequences (NVIDIA GPUs).
* ``sdpa``: the row is split at the sequence boundaries and each part gets plain causal attention, without a mask. On
  every device.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from prost_lightning.errors import UserError

# The name under which models select it (``attn_implementation=...``). Without ``packed`` it is PyTorch's scaled
# dot-product attention with the usual masks, so that the same model also generates.
PER_SEQUENCE_ATTENTION = "prost_per_sequence"

Attention = Literal["auto", "varlen", "sdpa"]
Kernel = Literal["varlen", "sdpa"]


def attention_kernel(choice: Attention, device: torch.device, dtype: torch.dtype) -> Kernel:
    """Decides how packed attention is computed.

    Args:
        choice: ``auto`` takes ``varlen`` where it runs, else ``sdpa``.
        device: Where the model is.
        dtype: What it computes in.

    Raises:
        UserError: ``varlen`` is asked for where it cannot run.
    """
    if choice == "sdpa":
        return "sdpa"
    obstacle = _varlen_obstacle(device, dtype)
    if obstacle is None:
        return "varlen"
    if choice == "varlen":
        raise UserError(f"model.compute.attention=varlen needs {obstacle}; choose auto or sdpa.")
    return "sdpa"


def _varlen_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """What variable-length flash attention lacks here."""
    if device.type != "cuda":
        return f"an NVIDIA GPU, and the model is on {device.type}"
    if "enable_gqa" not in inspect.signature(varlen_attn).parameters:
        return f"a newer torch than {torch.__version__}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "an NVIDIA GPU of compute capability 8.0 or above (Ampere)"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"a model in bfloat16, and this one computes in {dtype}"
    return None


@dataclass(frozen=True)
class PackedSequences:
    """How a packed row divides into sequences; N is their number.

    Attributes:
        lengths: Tokens of each sequence, in order; they add up to T.
        offsets: Where each begins and the last ends, shape (N + 1,), int32, on the model's device: for the ``varlen``
            kernel. None for ``sdpa``.
    """

    lengths: list[int]
    offsets: Tensor | None = None

    @classmethod
    def from_positions(cls, position_ids: Tensor, kernel: Kernel = "sdpa") -> PackedSequences:
        """Reads them off (1, T) position ids that start at 0 again with each sequence."""
        lengths = sequence_lengths(position_ids)
        if kernel == "sdpa":
            return cls(lengths)
        ends = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
        return cls(lengths, ends.to(position_ids.device, non_blocking=True))


# The compiler would make a new graph for each way of packing; to it, attention is one call that it does not look into.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def per_sequence_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed: PackedSequences | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention function for ``transformers``.

    Args:
        module: The attention layer.
        query: (1, heads, T, head size) where sequences are packed.
        key: (1, key/value heads, T, head size).
        value: As ``key``.
        attention_mask: Used where ``packed`` is None; else ignored.
        packed: The sequences in the row.
        **options: What ``transformers`` passes on (scaling, dropout, sliding window, ...).

    Returns:
        Attention output (1, T, heads, head size), and None for the weights.
    """
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if options.get("softcap") is not None:
        raise UserError("model.base_model: packed attention does not cap scores, as this model does; choose another.")
    window = options.get("sliding_window")
    if window is not None and max(packed.lengths) > window:
        raise ValueError(f"a packed sequence of {max(packed.lengths)} tokens exceeds the sliding window of {window}")
    if packed.offsets is not None:
        return _varlen_attention(query, key, value, packed.offsets, max(packed.lengths), options.get("scaling")), None
    parts = zip(*(torch.split(states, packed.lengths, dim=2) for states in (query, key, value)), strict=True)
    outputs = [sdpa_attention_forward(module, q, k, v, None, **options)[0] for q, k, v in parts]
    return torch.cat(outputs, dim=1), None


def _varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int, scaling: float | None
) -> Tensor:
    """All sequences in one kernel call; shapes as in :func:`per_sequence_attention`."""
    # Rotary embeddings may leave float32 behind, and the kernel wants one type.
    query, key, value = (states[0].transpose(0, 1).to(value.dtype) for states in (query, key, value))
    output = varlen_attn(
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, Tensor)
    return output[None]


AttentionInterface.register(PER_SEQUENCE_ATTENTION, per_sequence_attention)
AttentionMaskInterface.register(PER_SEQUENCE_ATTENTION, sdpa_mask)


def packed_hidden_states(
    decoder: nn.Module, input_ids: Tensor, position_ids: Tensor, kernel: Kernel = "sdpa"
) -> Tensor:
    """Runs a decoder over packed sequences.

    Args:
        decoder: A ``transformers`` decoder without its head, loaded with :data:`PER_SEQUENCE_ATTENTION`.
        input_ids: (1, T) tokens of all sequences, one after the other.
        position_ids: (1, T) positions that start at 0 again with each sequence.
        kernel: How attention is computed.

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
        packed=PackedSequences.from_positions(position_ids, kernel),
    ).last_hidden_state
    return hidden


def sequence_lengths(position_ids: Tensor) -> list[int]:
    """Lengths of the packed sequences, from (1, T) position ids that start at 0 again with each sequence."""
    starts = (position_ids[0] == 0).nonzero().flatten().tolist()
    ends = [*starts[1:], position_ids.shape[1]]
    return [end - start for start, end in zip(starts, ends, strict=True)]
