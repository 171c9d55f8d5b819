from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen2Config

from prost_lightning.flops import ModelShape, attention_flops, generation_flops, training_flops

SHAPE = ModelShape(layers=2, hidden_size=64, intermediate_size=128, heads=4, kv_heads=2, head_dim=16, vocab_size=1000)
# Qwen2.5-7B, whose figures the documents of this project give.
QWEN_7B = ModelShape(
    layers=28, hidden_size=3584, intermediate_size=18944, heads=28, kv_heads=4, head_dim=128, vocab_size=152064
)


@pytest.mark.parametrize("family", [LlamaConfig, Qwen2Config])
def test_shape_counts_the_weights_of_a_real_model(family: type) -> None:
    config = family(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=500, tie_word_embeddings=False,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    linear = sum(w.numel() for name, w in model.named_parameters() if name.endswith("proj.weight"))
    shape = ModelShape.from_config(config)
    assert shape.linear_parameters == linear
    assert shape.head_parameters == model.lm_head.weight.numel()


def test_shape_of_the_built_in_model(smollm2: str) -> None:
    from prost_lightning.modules.qlora import resolve_model

    shape = ModelShape.from_config(AutoConfig.from_pretrained(resolve_model(smollm2)))
    assert (shape.layers, shape.hidden_size, shape.kv_heads, shape.vocab_size) == (30, 576, 3, 49152)
    assert 1.05e8 < shape.linear_parameters < 1.07e8


@given(prompt=st.integers(1, 500), first=st.integers(1, 50), second=st.integers(1, 50))
def test_writing_more_costs_what_reading_it_and_its_head_cost(prompt: int, first: int, second: int) -> None:
    """A call of a + b tokens costs as much as one of a, and then reading on from there."""
    whole = generation_flops(SHAPE, prompt, first + second)
    part = generation_flops(SHAPE, prompt, first)
    read = prompt + first - 1
    going_on = (
        2 * SHAPE.linear_parameters * second
        + 2 * SHAPE.head_parameters * second
        + attention_flops(SHAPE, read + second)
        - attention_flops(SHAPE, read)
    )
    assert whole == pytest.approx(part + going_on)


def test_one_token_by_hand() -> None:
    linear = 2 * (64 * (4 + 2) * 16 * 2 + 3 * 64 * 128)
    attention = 4 * 2 * 4 * 16  # layers, heads, head size; the token sees itself
    assert generation_flops(SHAPE, 1, 1) == 2 * linear + 2 * 64 * 1000 + attention


def test_training_agrees_with_the_documented_arithmetic() -> None:
    """Qwen2.5-7B with LoRA r16 on all linear layers, 8k tokens: 33.5 GFLOP a token, 48.2 with full recompute."""
    tokens = 8192
    plain = training_flops(QWEN_7B, [tokens], tokens, 40_000_000) / tokens
    again = training_flops(QWEN_7B, [tokens], tokens, 40_000_000, recomputed_share=1.0) / tokens
    assert plain == pytest.approx(33.5e9, rel=0.02)
    assert again == pytest.approx(48.2e9, rel=0.02)


def test_packing_does_not_attend_across_sequences() -> None:
    together = training_flops(SHAPE, [100, 50], 30, 1000)
    assert together == pytest.approx(training_flops(SHAPE, [100], 20, 1000) + training_flops(SHAPE, [50], 10, 1000))
    assert together < training_flops(SHAPE, [150], 30, 1000)
