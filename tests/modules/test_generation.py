from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from prost_lightning.modules.generation import generate
from prost_lightning.modules.qlora import load_base


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> PreTrainedModel:
    return load_base(tiny_model, "none", torch.float32)


PROMPTS = [[5, 6, 7], [8] * 30, [9, 10], [11, 12, 13, 14]]


def alone(model: PreTrainedModel, prompt: list[int], tokens: int) -> list[int]:
    """What transformers itself writes."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, eos_token_id=-1
    )
    return out[0, len(prompt) :].tolist()


def test_each_row_gets_what_it_would_get_alone(model: PreTrainedModel) -> None:
    """Left padding, rows leaving at different times and growing storage change nothing."""
    limits = [90, 3, 70, 1]
    replies = generate(model, PROMPTS, limits, stop_ids=(), pad_id=2)
    assert replies == [alone(model, prompt, limit) for prompt, limit in zip(PROMPTS, limits, strict=True)]


def test_a_reply_ends_with_its_stop_token(model: PreTrainedModel) -> None:
    whole = generate(model, PROMPTS, [20] * 4, stop_ids=(), pad_id=2)
    stop = whole[0][7]
    expected = [reply[: reply.index(stop) + 1] if stop in reply else reply for reply in whole]
    assert generate(model, PROMPTS, [20] * 4, stop_ids=[stop], pad_id=2) == expected


def test_drawing_is_reproducible_and_differs_by_seed(model: PreTrainedModel) -> None:
    def draw(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return generate(model, PROMPTS, [10] * 4, stop_ids=(), pad_id=2, temperature=1.0, generator=generator)

    assert draw(1) == draw(1) != draw(2)
