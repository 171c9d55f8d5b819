"""Batched decoding: rows leave the batch as they finish, and keys and values are not copied at each token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class _RoomyLayer(DynamicLayer):
    """Keeps room for more tokens than it holds; the layer it replaces copies all keys and values at each token."""

    ROOM = 64  # tokens by which the storage grows

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storage: list[Tensor] = []  # keys and values, (B, heads, tokens + room, head size)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends (B, heads, new tokens, head size) keys and values and returns all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._storage = [
                states.new_empty(*states.shape[:2], 0, states.shape[3]) for states in (key_states, value_states)
            ]
        start, end = self.get_seq_length(), self.get_seq_length() + key_states.shape[2]
        for index, new in enumerate((key_states, value_states)):
            if end > self._storage[index].shape[2]:
                grown = new.new_empty(*new.shape[:2], end + self.ROOM, new.shape[3])
                grown[:, :, :start] = self._storage[index][:, :, :start]
                self._storage[index] = grown
            self._storage[index][:, :, start:end] = new
        self.keys, self.values = (storage[:, :, :end] for storage in self._storage)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows of the batch."""
        length = self.get_seq_length()
        self._storage = [storage[indices] for storage in self._storage]
        self.keys, self.values = (storage[:, :, :length] for storage in self._storage)


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    max_tokens: Sequence[int],
    stop_ids: Collection[int],
    pad_id: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Continues a batch of prompts.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids, B prompts of any length of at least 1.
        max_tokens: Most tokens to write, for each prompt; at least 1.
        stop_ids: Tokens that end a reply.
        pad_id: Token that fills shorter prompts up on the left; never seen by the model.
        temperature: 0 takes the likeliest token; above, tokens are drawn.
        generator: Source of randomness for drawing, on the model's device.

    Returns:
        The tokens written for each prompt, the stopping token included.
    """
    device = model.device
    longest = max(map(len, prompts))
    input_ids = torch.tensor([[pad_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    position_ids = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (B, longest)
    cache = DynamicCache(config=model.config)
    # Layers of other kinds (sliding window, ...) keep their own.
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]

    replies: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # the prompt that each row of the batch belongs to
    while True:
        logits = model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]  # (B, vocabulary)
        tokens = _choose(logits, temperature, generator)
        unfinished = []
        for row, (prompt, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            replies[prompt].append(token)
            if token not in stop_ids and len(replies[prompt]) < max_tokens[prompt]:
                unfinished.append(row)
        if not unfinished:
            return replies
        if len(unfinished) < len(rows):
            rows = [rows[row] for row in unfinished]
            kept = torch.tensor(unfinished, device=device)
            cache.batch_select_indices(kept)
            mask, position_ids, tokens = mask[kept], position_ids[kept], tokens[kept]
        input_ids = tokens[:, None]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        position_ids = position_ids[:, -1:] + 1


def _choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Next tokens (B,) for logits (B, vocabulary)."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    chances = torch.softmax(logits.float() / temperature, dim=-1)
    return torch.multinomial(chances, 1, generator=generator)[:, 0]
