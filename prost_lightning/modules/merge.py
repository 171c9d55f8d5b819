"""Dense copies for generation: 4-bit weights unpacked, one adapter merged in."""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from prost_lightning.errors import UserError


def merged_copy(model: PeftModel | PreTrainedModel, role: str | None) -> PreTrainedModel:
    """Makes a plain model out of a quantised base and one adapter.

    Unpacking 4-bit weights and adding adapters again at each token costs more than the multiplication itself: on two
    CPU cores the copy decodes and reads prompts nearly twice as fast. It shares everything that does not change
    (embeddings, norms) with the model, which is left as it is and may be in the middle of training.

    Args:
        model: The base, with or without adapters.
        role: Adapter to merge; None, or one that the model does not have, gives the base alone.

    Returns:
        A copy in evaluation mode, for inference only. Its linear layers take two bytes (bfloat16) a weight.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    # deepcopy asks its memo first: tensors stand for themselves, adapted and quantised layers for dense ones.
    memo: dict[int, Any] = {id(tensor): tensor for tensor in chain(base.parameters(), base.buffers())}
    wrapped = {id(module.get_base_layer()) for module in base.modules() if isinstance(module, LoraLayer)}
    for module in base.modules():
        if isinstance(module, LoraLayer | Linear4bit) and id(module) not in wrapped:
            memo[id(module)] = _dense(module, role)
    merged: PreTrainedModel = copy.deepcopy(base, memo)
    merged.eval()
    return merged


@torch.no_grad()
def _dense(module: Any, role: str | None) -> nn.Linear:
    """A plain linear layer that computes what an adapted or quantised one does."""
    adapted = isinstance(module, LoraLayer)
    layer: Any = module.get_base_layer() if adapted else module
    if not isinstance(layer, nn.Linear):
        raise UserError(
            f"lora.target_modules names a {type(layer).__name__}, whose adapter cannot be merged; name linear layers, "
            "or generate with LocalPolicy(merge=False)."
        )
    weight: Tensor = layer.weight.detach()
    quant_state = getattr(layer.weight, "quant_state", None)
    if quant_state is not None:
        weight = dequantize_4bit(weight, quant_state).to(quant_state.dtype)
    if adapted and role in module.lora_A:
        weight = (weight.float() + module.get_delta_weight(role).float()).to(weight.dtype)
    dense = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    dense.weight = nn.Parameter(weight, requires_grad=False)
    dense.bias = layer.bias
    return dense
