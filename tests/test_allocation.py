from __future__ import annotations

from transformers import LlamaConfig, Qwen2Config

from prost_lightning.allocation import allocation, shared_allocation, size_label


def test_sizes_are_named_as_their_makers_name_them() -> None:
    smollm2 = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    qwen = Qwen2Config(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        tie_word_embeddings=False,
    )
    assert size_label(smollm2) == "135M"
    assert size_label(qwen) == "7.6B"


def test_an_allocation_names_the_roles_in_order() -> None:
    assert allocation({"critic": "135M", "orchestrator": "360M", "executor": "135M"}) == "360M-135M-135M"
    assert allocation({"single": "135M"}) == "135M"


def test_one_model_may_serve_all_roles() -> None:
    assert shared_allocation("team", True, "135M") == "135M-135M-135M"
    assert shared_allocation("team", False, "135M") == "135M-135M"
    assert shared_allocation("single", True, "135M") == "135M"
