from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prost_lightning.modules.packed_attention import packed_hidden_states, sequence_lengths
from prost_lightning.modules.qlora import load_base


def packed_positions(lengths: list[int]) -> torch.Tensor:
    return torch.cat([torch.arange(length) for length in lengths])[None]


def test_lengths_are_read_from_positions() -> None:
    assert sequence_lengths(packed_positions([3, 1, 7])) == [3, 1, 7]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_sequences_do_not_see_each_other(tiny_model: Path, checkpointing: bool) -> None:
    base = load_base(tiny_model, "none", torch.float32)
    if checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
    base.train().requires_grad_(True)
    lengths = [5, 17, 1, 40]
    ids = torch.randint(0, 1000, (1, sum(lengths)))

    packed = packed_hidden_states(base.model, ids, packed_positions(lengths))
    alone = torch.cat(
        [base.model(part, use_cache=False).last_hidden_state for part in ids.split(lengths, dim=1)], dim=1
    )
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)

    weight = base.model.layers[0].self_attn.q_proj.weight
    (packed_gradient,) = torch.autograd.grad(packed.square().sum(), weight)
    (alone_gradient,) = torch.autograd.grad(alone.square().sum(), weight)
    torch.testing.assert_close(packed_gradient, alone_gradient, atol=1e-4, rtol=1e-4)


def test_an_ordinary_padded_forward_is_what_transformers_computes(tiny_model: Path) -> None:
    base = load_base(tiny_model, "none", torch.float32)
    ids = torch.randint(0, 1000, (2, 12))
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    ours = base(ids, attention_mask=mask).logits
    base.set_attn_implementation("eager")
    torch.testing.assert_close(
        ours[mask.bool()], base(ids, attention_mask=mask).logits[mask.bool()], atol=1e-4, rtol=1e-4
    )
