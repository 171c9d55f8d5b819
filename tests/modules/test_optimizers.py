from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from prost_lightning.errors import UserError
from prost_lightning.modules.optimizers import OptimizerName, make_optimizer


def weights() -> dict[str, list[Parameter]]:
    torch.manual_seed(0)
    return {role: [Parameter(torch.randn(64, 128))] for role in ("executor", "critic")}


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit"])
def test_only_the_role_with_gradients_moves_and_the_loss_falls(name: OptimizerName) -> None:
    of_role = weights()
    optimizer = make_optimizer(name, of_role, lr=0.05, weight_decay=0.1)
    (trained,), (idle,) = of_role["executor"], of_role["critic"]
    before, start = idle.detach().clone(), trained.square().mean().item()
    for _ in range(10):
        optimizer.zero_grad()
        trained.square().mean().backward()
        optimizer.step()
    assert trained.square().mean() < start / 2
    assert torch.equal(idle, before)
    assert [group["name"] for group in optimizer.param_groups] == ["executor", "critic"]


def test_eight_bits_take_a_quarter_of_the_memory_and_almost_the_same_steps() -> None:
    results, sizes = [], []
    for name in ("adamw", "adamw_8bit"):
        of_role = weights()
        optimizer = make_optimizer(name, of_role, lr=0.05, weight_decay=0.0)
        (weight,) = of_role["executor"]
        for _ in range(5):
            optimizer.zero_grad()
            weight.square().mean().backward()
            optimizer.step()
        results.append(weight.detach())
        states = [value for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor)]
        sizes.append(sum(state.numel() * state.element_size() for state in states if state.numel() >= weight.numel()))
    assert sizes[1] == sizes[0] / 4
    torch.testing.assert_close(results[1], results[0], atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["paged_adamw", "paged_adamw_8bit"])
def test_a_paged_optimiser_without_a_gpu_is_refused(name: OptimizerName) -> None:
    with pytest.raises(UserError, match=f"optimizer={name} needs a GPU.* choose adamw"):
        make_optimizer(name, weights(), lr=1e-3, weight_decay=0.0)
