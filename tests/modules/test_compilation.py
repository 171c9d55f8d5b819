from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from prost_lightning.modules.adapters import AdapterSwitch
from prost_lightning.modules.compilation import compile_layers
from prost_lightning.modules.packed_attention import packed_hidden_states
from prost_lightning.modules.qlora import LoraSettings, Quantization, add_adapters, load_base

ROLES = ("orchestrator", "executor")


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_switching_adapters_and_lengths_compiles_nothing_new(tiny_model: Path, quantization: Quantization) -> None:
    base = load_base(tiny_model, quantization)
    model = add_adapters(base, ROLES, LoraSettings(r=4)).train()
    switch = AdapterSwitch(model)

    def forward(role: str, lengths: list[int]) -> torch.Tensor:
        switch.activate(role)
        generator = torch.Generator().manual_seed(sum(lengths))
        ids = torch.randint(0, 1000, (1, sum(lengths)), generator=generator)
        positions = torch.cat([torch.arange(length) for length in lengths])[None]
        with torch.autocast("cpu", torch.bfloat16, enabled=base.dtype == torch.bfloat16):
            return packed_hidden_states(base.get_decoder(), ids, positions)

    eager = forward("executor", [5, 9])
    torch._dynamo.reset()
    # Tracing is what is tested; the graphs themselves run as they are.
    compile_layers(base, "default", adapters=len(ROLES), backend="eager")
    torch.testing.assert_close(forward("executor", [5, 9]), eager)
    for role in ROLES:
        forward(role, [5, 9]).sum().backward()
    graphs = counters["stats"]["unique_graphs"]
    for role, lengths in (("orchestrator", [3, 30, 4]), ("executor", [44]), ("orchestrator", [7, 8])):
        forward(role, lengths).sum().backward()
    assert counters["stats"]["unique_graphs"] == graphs
    # What plays episodes is a copy that knows nothing of compilation.
    assert copy.deepcopy(base.get_decoder().layers[0])._compiled_call_impl is None
