from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig, PretrainedConfig, Qwen2Config

from prost_lightning.errors import UserError
from prost_lightning.modules import losses
from prost_lightning.modules.losses import Loss, check_logits, check_loss, summed_cross_entropy

CPU = torch.device("cpu")
needs_fused = pytest.mark.skipif(not hasattr(nn, "LinearCrossEntropyOptions"), reason="torch 2.13")


def frozen_head(bias: bool = False, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(16, 300, bias=bias, dtype=dtype).requires_grad_(False)


def loss_and_gradient(choice: Loss, head: nn.Linear, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    hidden = torch.randn(tokens, 16, dtype=head.weight.dtype, requires_grad=True)
    loss = summed_cross_entropy(hidden, head, torch.randint(0, 300, (tokens,)), choice)
    (gradient,) = torch.autograd.grad(loss * 0.1, hidden)
    return loss, gradient


@pytest.mark.parametrize("choice", ["auto", "chunked", pytest.param("fused", marks=needs_fused)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tokens", [1, 50])
def test_every_way_computes_the_plain_loss(
    choice: Loss, bias: bool, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 300 * 8)  # pieces of eight tokens; the last one is smaller
    head = frozen_head(bias)
    loss, gradient = loss_and_gradient(choice, head, tokens)
    plain_loss, plain_gradient = loss_and_gradient("plain", head, tokens)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-5, atol=1e-6)


def test_in_bfloat16_chunks_are_as_exact_as_the_plain_loss() -> None:
    head = frozen_head(dtype=torch.bfloat16)
    loss, gradient = loss_and_gradient("chunked", head, 50)
    plain_loss, plain_gradient = loss_and_gradient("plain", head, 50)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, plain_loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("choice", ["plain", "chunked", "fused"])
def test_no_tokens_have_no_loss_and_zero_gradients(choice: Loss) -> None:
    loss, gradient = loss_and_gradient(choice, frozen_head(), 0)
    assert loss == 0
    assert gradient.shape == (0, 16)


def test_chunks_keep_no_logits_for_the_backward_pass() -> None:
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        hidden = torch.randn(50, 16, requires_grad=True)
        summed_cross_entropy(hidden, frozen_head(), torch.randint(0, 300, (50,)), "chunked")
    assert kept == [50 * 16]


def test_what_cannot_run_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match="loss=liger needs a GPU"):
        check_loss("liger", frozen_head(), CPU)
    trained = nn.Linear(16, 300)
    with pytest.raises(UserError, match="loss=chunked needs a frozen linear output head"):
        check_loss("chunked", trained, CPU)
    check_loss("auto", trained, CPU)
    assert summed_cross_entropy(torch.randn(3, 16), trained, torch.tensor([1, 2, 3])).requires_grad


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (Gemma2Config(), "final_logit_softcapping=30.0"),
        (GraniteConfig(logits_scaling=8.0), "logits_scaling=8.0"),
        (CohereConfig(), "logit_scale=0.0625"),
    ],
)
def test_models_that_scale_or_cap_their_logits_are_refused(config: PretrainedConfig, setting: str) -> None:
    with pytest.raises(UserError, match=f"{config.model_type} models scale or cap their logits .{setting}"):
        check_logits(config)


def test_models_whose_logits_are_the_heads_output_are_not() -> None:
    for config in (LlamaConfig(), Qwen2Config(), GraniteConfig(), Gemma2Config(final_logit_softcapping=None)):
        check_logits(config)
