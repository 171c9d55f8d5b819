from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from prost_lightning.errors import UserError
from prost_lightning.modules.merge import merged_copy
from prost_lightning.modules.qlora import (
    LoraSettings,
    Quantization,
    adapter_roles,
    adapters_base,
    add_adapters,
    export_adapters,
    load_adapters,
    load_base,
    load_tokenizer,
    resolve_model,
)

ROLES = ("orchestrator", "executor")
IDS = torch.arange(40)[None]


def with_adapters(base_name: Path, quantization: Quantization, dtype: torch.dtype = torch.float32) -> PeftModel:
    """A model whose adapters do something (fresh ones are the identity)."""
    torch.manual_seed(1)
    model = add_adapters(load_base(base_name, quantization, dtype), ROLES, LoraSettings(r=4, alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_exported_adapters_load_with_plain_peft(tiny_model: Path, tmp_path: Path, quantization: Quantization) -> None:
    model = with_adapters(tiny_model, quantization)
    export_adapters(model, tmp_path)
    assert adapter_roles(tmp_path) == sorted(ROLES)
    ours = load_adapters(load_base(tiny_model, quantization, torch.float32), tmp_path)
    seen = []
    for role in ROLES:
        model.set_adapter(role)
        ours.set_adapter(role)
        assert torch.equal(logits(ours), logits(model))
        plain = PeftModel.from_pretrained(load_base(tiny_model, quantization, torch.float32), tmp_path / role)
        assert torch.equal(logits(plain), logits(model))
        seen.append(logits(model))
    assert not torch.allclose(*seen)


def test_exported_adapters_load_on_a_base_that_transformers_loaded(tiny_model: Path, tmp_path: Path) -> None:
    model = with_adapters(tiny_model, "none")
    export_adapters(model, tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, tmp_path / ROLES[0])
    torch.testing.assert_close(logits(plain), logits(model), atol=1e-4, rtol=1e-4)


def test_exported_adapters_name_their_base_as_the_user_did(tiny_model: Path, tmp_path: Path) -> None:
    export_adapters(with_adapters(tiny_model, "nf4"), tmp_path)
    assert adapters_base(tmp_path) == str(tiny_model)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_a_merged_copy_computes_the_same_and_shares_the_rest(tiny_model: Path, quantization: Quantization) -> None:
    model = with_adapters(tiny_model, quantization).train()
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    for role in (*ROLES, None):
        merged = merged_copy(model, role)
        assert not any(
            isinstance(module, Linear4bit) or "lora" in type(module).__module__ for module in merged.modules()
        )
        if role is None:
            with model.disable_adapter():
                expected = logits(model)
        else:
            model.set_adapter(role)
            expected = logits(model)
        torch.testing.assert_close(logits(merged), expected, atol=1e-4, rtol=1e-4)
        assert merged.get_input_embeddings().weight is model.get_base_model().get_input_embeddings().weight
    assert model.training
    for name, tensor in model.named_parameters():
        assert torch.equal(tensor, before[name])


def test_gradients_live_on_after_an_evaluation(tiny_model: Path) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes would repack the 4-bit weights in the evaluation and lose gradients."""
    model = with_adapters(tiny_model, "nf4", torch.bfloat16)

    def gradients() -> dict[str, torch.Tensor]:
        model.train().zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    before = gradients()
    model.eval()
    with torch.inference_mode():
        model(input_ids=IDS)
    after = gradients()
    assert before.keys() == after.keys()
    assert len(before) == 2 * 2 * 7  # layers, A and B, linear layers
    for name in before:
        assert torch.equal(before[name], after[name])
        assert before[name].abs().sum() > 0


def test_the_base_is_really_in_four_bits(tiny_model: Path) -> None:
    base = load_base(tiny_model, "nf4")
    layers = [module for module in base.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 2 * 7
    assert all(layer.weight.dtype == torch.uint8 and layer.quant_state.quant_type == "nf4" for layer in layers)
    assert not any(parameter.requires_grad for parameter in base.parameters())


def test_a_local_path_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve_model(tmp_path)
    with pytest.raises(UserError, match="no config"):
        resolve_model("./nowhere")


def test_a_hub_id_is_left_alone() -> None:
    assert resolve_model("Qwen/Qwen2.5-0.5B-Instruct") == "Qwen/Qwen2.5-0.5B-Instruct"


def test_a_model_that_cannot_be_loaded_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="nobody/nothing: cannot load") as error:
        load_tokenizer("nobody/nothing")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("adapter_config.json", b"{"), ("adapter_config.json", b"[]"), ("adapter_model.safetensors", b"x" * 99)],
)
def test_adapters_that_cannot_be_read_are_named(tiny_model: Path, tmp_path: Path, name: str, content: bytes) -> None:
    base = load_base(tiny_model, "none", torch.float32)
    export_adapters(with_adapters(tiny_model, "none"), tmp_path)
    (tmp_path / "executor" / name).write_bytes(content)
    with pytest.raises(UserError, match="executor: cannot load this adapter") as error:
        load_adapters(base, tmp_path)
    assert "\n" not in str(error.value)
    if name == "adapter_config.json":
        with pytest.raises(UserError, match="executor: cannot load this adapter"):
            adapters_base(tmp_path)


def test_adapters_of_another_base_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    export_adapters(with_adapters(tiny_model, "none"), tmp_path)
    other = LlamaForCausalLM(
        LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    )
    with pytest.raises(UserError, match=r"size mismatch.*name the base_model that it was trained on"):
        load_adapters(other, tmp_path)


def test_adapters_without_a_base_ask_for_one(tiny_model: Path, tmp_path: Path) -> None:
    export_adapters(with_adapters(tiny_model, "none"), tmp_path)
    for role in ROLES:
        path = tmp_path / role / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(UserError, match="say which with base_model"):
        adapters_base(tmp_path)


def test_no_adapters_and_no_matching_layers_are_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapters"):
        adapter_roles(tmp_path)
    with pytest.raises(UserError, match="target_modules"):
        add_adapters(load_base(tiny_model, "none"), ["executor"], LoraSettings(target_modules=["no_such_layer"]))
