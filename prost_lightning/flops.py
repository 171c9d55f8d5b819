"""How many floating-point operations a model call or a training batch takes, by arithmetic.

A matrix multiplication of (m, k) by (k, n) counts ``2 m k n``, so each weight of a linear layer costs 2 operations a
token, forward (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1). Causal attention costs, for
each pair of a token and one it may see, ``2`` operations a head and head dimension for the score and ``2`` for the
weighted sum (Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU Clusters", appendix; there
without the causal half). Embedding look-ups, norms, activations and softmax are left out, as in both. Which formula the
ProST paper uses is not known here; this one is ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """What the cost of a dense decoder with gated feed-forward layers (Llama, Qwen, Mistral, Gemma, ...) depends on.

    Attributes:
        layers: Number of layers.
        hidden_size: Width of the residual stream.
        intermediate_size: Width of the feed-forward layers.
        heads: Query heads.
        kv_heads: Key/value heads.
        head_dim: Size of a head.
        vocab_size: Rows of the output head.
    """

    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int

    @classmethod
    def from_config(cls, config: Any) -> ModelShape:
        """Reads the shape from a ``transformers`` config."""
        config = config.get_text_config()
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocab_size=config.vocab_size,
        )

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers of all layers, without the head."""
        attention = 2 * self.hidden_size * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden_size * self.intermediate_size)

    @property
    def head_parameters(self) -> int:
        """Weights of the output head."""
        return self.hidden_size * self.vocab_size


def attention_flops(shape: ModelShape, tokens: int) -> float:
    """Forward operations of causal attention over one sequence.

    Args:
        shape: The model.
        tokens: Length of the sequence, n: there are n(n+1)/2 pairs.
    """
    return 4.0 * shape.layers * shape.heads * shape.head_dim * tokens * (tokens + 1) / 2


def generation_flops(shape: ModelShape, prompt_tokens: int, completion_tokens: int) -> float:
    """Forward operations of one call that reads a prompt and writes a completion, with a key/value cache.

    The last token written is never read; the head runs once for each token written. Adapters are not counted: they can
    be merged into the base, and then cost nothing.

    Args:
        shape: The model.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written, the stopping token included; at least 1.
    """
    read = prompt_tokens + completion_tokens - 1
    head = 2.0 * shape.head_parameters * completion_tokens
    return 2.0 * shape.linear_parameters * read + head + attention_flops(shape, read)


def training_flops(
    shape: ModelShape,
    sequence_lengths: Iterable[int],
    supervised_tokens: int,
    adapter_parameters: int,
    recomputed_share: float = 0.0,
) -> float:
    """Operations of one forward and backward pass that trains LoRA adapters on a frozen base.

    A frozen weight needs no gradient of its own: 2 operations a token forward and 2 backward, where full training has
    4 backward. An adapter's weight costs 6. Attention's backward pass costs twice its forward pass.

    Args:
        shape: The base.
        sequence_lengths: Tokens of each sequence; attention does not cross sequences.
        supervised_tokens: Tokens with a label; the (frozen) head runs for these alone.
        adapter_parameters: Weights of the adapter being trained.
        recomputed_share: Share of the layers whose activations are computed again in the backward pass (activation
            checkpointing), 0 to 1.
    """
    lengths = list(sequence_lengths)
    tokens = sum(lengths)
    attention = sum(attention_flops(shape, length) for length in lengths)
    linear = 2.0 * shape.linear_parameters * tokens
    adapters = 2.0 * adapter_parameters * tokens
    again = recomputed_share * (linear + attention + adapters)
    return 2 * linear + 4.0 * shape.head_parameters * supervised_tokens + 3 * attention + 3 * adapters + again
