"""What ways of activation checkpointing keep for the backward pass, and what they cost in time, on a CPU.

    python benchmarks/checkpointing.py [--tokens 2048] [--layers 8] [--json FILE]

LoRA of rank 16 on all linear layers of a frozen Llama with random weights, float32, of SmolLM2's width. ``none``,
``selective`` and ``full`` are the values of ``model.compute.activation_checkpointing``. The others are PyTorch's
selective checkpointing, in every layer, with a policy that keeps the results of all matrix products, or of the base's
and of attention. Kept memory is what the process has more after the forward pass than before it.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from reporting import argument_parser, report
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers import LlamaConfig, LlamaForCausalLM

from prost_lightning.modules.checkpointing import checkpoint_activations
from prost_lightning.modules.qlora import LoraSettings, add_adapters

RANK = 16
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default}
ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
}


def _keep_products(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in PRODUCTS else CheckpointPolicy.PREFER_RECOMPUTE


def _keep_base(_: Any, operation: Any, *arguments: Any, **__: Any) -> CheckpointPolicy:
    # Adapters' products have a side as short as their rank.
    of_base = operation in PRODUCTS and all(min(matrix.shape) > RANK for matrix in arguments[-2:])
    return CheckpointPolicy.MUST_SAVE if of_base or operation in ATTENTION else CheckpointPolicy.PREFER_RECOMPUTE


POLICIES: dict[str, Callable[..., CheckpointPolicy]] = {
    "policy: all products": _keep_products,
    "policy: base's products, attention": _keep_base,
}


def network(choice: str, layers: int) -> Any:
    """A frozen base with an adapter, whose layers are checkpointed as chosen."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512, hidden_size=576, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9,
        num_key_value_heads=3,
    )  # fmt: skip
    base = LlamaForCausalLM(config).requires_grad_(False)
    if choice in POLICIES:
        contexts = partial(create_selective_checkpoint_contexts, POLICIES[choice])
        base.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": contexts})
    else:
        checkpoint_activations(base, choice)  # type: ignore[arg-type]
    return add_adapters(base, ["executor"], LoraSettings(r=RANK), seed=0).train()


def resident_mib() -> float:
    """Memory of this process after what is free was given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def main() -> None:
    """Measures and reports."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3, help="after one that does not count; medians")
    given = parser.parse_args()
    rows = []
    for choice in ("none", "selective", *POLICIES, "full"):
        trained = network(choice, given.layers)
        decoder = trained.get_base_model().get_decoder()
        kept, spent = [], []
        for _ in range(1 + given.repeats):
            before, start = resident_mib(), time.perf_counter()
            hidden = decoder(torch.arange(given.tokens)[None] % 512, use_cache=False).last_hidden_state
            forward = time.perf_counter() - start
            kept.append(resident_mib() - before)
            start = time.perf_counter()
            hidden.square().sum().backward()
            spent.append(forward + time.perf_counter() - start)
            trained.zero_grad()
            del hidden
        rows.append({"way": choice, "kept, MiB": statistics.median(kept[1:]), "s": statistics.median(spent[1:])})
        del trained, decoder
    for row in rows:
        row["time"] = row["s"] / rows[0]["s"]
    report(
        f"Activation checkpointing, {given.layers} layers, {given.tokens} tokens",
        rows,
        json_path=given.json,
        notes=["Not run on a GPU."],
    )


if __name__ == "__main__":
    main()
