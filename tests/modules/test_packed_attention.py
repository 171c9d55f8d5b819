from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from prost_lightning.errors import UserError
from prost_lightning.modules import packed_attention
from prost_lightning.modules.packed_attention import (
    PackedSequences,
    attention_kernel,
    packed_hidden_states,
    per_sequence_attention,
    sequence_lengths,
)
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


def reference_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What PyTorch says of ``varlen_attn``, sequence by sequence, in this test's own words."""
    assert window_size == (-1, 0)  # causal
    assert cu_seq_q.dtype == torch.int32
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert max_q == max_k == int(cu_seq_q.diff().max())
    assert enable_gqa == (query.shape[1] != key.shape[1])
    outputs = []
    for start, end in pairwise(cu_seq_q.tolist()):
        q, k, v = (states[start:end].transpose(0, 1) for states in (query, key, value))
        k, v = (states.repeat_interleave(q.shape[0] // k.shape[0], dim=0) for states in (k, v))
        scores = (q @ k.transpose(1, 2)) * (scale or q.shape[-1] ** -0.5)
        future = torch.ones(end - start, end - start, dtype=torch.bool).triu(1)
        outputs.append((scores.masked_fill(future, -torch.inf).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(outputs)


def test_the_variable_length_kernel_is_given_what_it_wants(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel itself runs on GPUs only (tests/gpu)."""
    monkeypatch.setattr(packed_attention, "varlen_attn", reference_kernel)
    base = load_base(tiny_model, "none", torch.float32)
    lengths = [5, 17, 1, 40]
    ids, positions = torch.randint(0, 1000, (1, sum(lengths))), packed_positions(lengths)
    ours = packed_hidden_states(base.model, ids, positions, "varlen")
    torch.testing.assert_close(ours, packed_hidden_states(base.model, ids, positions, "sdpa"), atol=1e-5, rtol=1e-5)


def test_the_variable_length_kernel_takes_these_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own shape inference of the real kernel."""
    query, key = (torch.empty(1, heads, 10, 16, dtype=torch.bfloat16, device="meta") for heads in (4, 2))
    packed = PackedSequences([4, 6], torch.empty(3, dtype=torch.int32, device="meta"))
    output, _ = per_sequence_attention(torch.nn.Identity(), query, key, key, None, packed=packed)
    assert output.shape == (1, 10, 4, 16)


def test_the_kernel_is_chosen_by_the_device() -> None:
    cpu = torch.device("cpu")
    assert attention_kernel("auto", cpu, torch.bfloat16) == attention_kernel("sdpa", cpu, torch.bfloat16) == "sdpa"
    with pytest.raises(UserError, match="needs an NVIDIA GPU, and the model is on cpu"):
        attention_kernel("varlen", cpu, torch.bfloat16)


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
