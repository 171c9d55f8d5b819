from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from prost_lightning.modules.checkpointing import ActivationCheckpointing, checkpoint_activations, recomputed_share


def kept_and_gradient(choice: ActivationCheckpointing) -> tuple[int, float, torch.Tensor]:
    """Numbers kept for the backward pass, share of layers computed twice, and a gradient."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4
    )
    model = LlamaForCausalLM(config).train()
    checkpoint_activations(model, choice)
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        hidden = model.model(torch.arange(50)[None], use_cache=False).last_hidden_state
    hidden.square().sum().backward()
    gradient = model.model.layers[0].mlp.up_proj.weight.grad
    assert gradient is not None
    return kept, recomputed_share(model), gradient


def test_less_is_kept_and_the_gradients_are_the_same() -> None:
    none, selective, full = (kept_and_gradient(choice) for choice in ("none", "selective", "full"))
    assert full[0] < selective[0] < none[0]
    assert selective[0] < 0.6 * none[0]
    assert (none[1], selective[1], full[1]) == (0.0, 0.5, 1.0)
    assert torch.equal(none[2], selective[2])
    assert torch.equal(none[2], full[2])
