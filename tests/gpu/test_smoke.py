"""What only an NVIDIA GPU can show, in under five minutes: ``pytest -m gpu tests/gpu -s``.

NOT RUN ON A GPU YET: written and collected on a machine without one, where every test is skipped. Needs no model hub:
models are built from their configuration with random weights.
"""

from __future__ import annotations

import gc
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from torch.utils.data import DataLoader

from prost_lightning.modules.compute import ComputeSettings
from prost_lightning.modules.losses import Loss, check_loss, summed_cross_entropy
from prost_lightning.modules.optimizers import OptimizerName
from prost_lightning.modules.packed_attention import packed_hidden_states
from prost_lightning.modules.qlora import LoraSettings, Quantization, add_adapters, load_base
from prost_lightning.modules.role_module import RoleModule

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

TEAM = ("orchestrator", "executor", "critic")
CUDA = torch.device("cuda")
VOCABULARY = 32_000


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A four-layer Qwen2 of 1.5B's width, with random weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=1536, intermediate_size=8960, num_hidden_layers=4, num_attention_heads=12,
        num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=16_384,
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("gpu-model")
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    return directory


def make_batch(role: str, lengths: list[int], seed: int = 0) -> dict[str, Any]:
    """Packed sequences of random tokens of which the later half has labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (1, sum(lengths)), generator=generator)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    halves = torch.cat([torch.full((length,), length // 2) for length in lengths])[None]
    labels = ids.masked_fill(positions < halves, -100)
    supervised = int((labels != -100).sum())
    return {
        "role": role,
        "input_ids": ids,
        "position_ids": positions,
        "labels": labels,
        "step_supervised_tokens": supervised,
    }


class Batches(LightningDataModule):
    """Batches of all roles in turns, for training and validation."""

    def __init__(self, steps: int, lengths: list[int]) -> None:
        super().__init__()
        self.batches = [make_batch(TEAM[index % 3], lengths, index % 3) for index in range(steps)]

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.batches[:3], batch_size=None)


def fit(module: RoleModule, directory: Path, steps: int = 9, lengths: tuple[int, ...] = (700, 300)) -> Trainer:
    trainer = Trainer(
        accelerator="gpu", devices=1, max_epochs=1, logger=False, enable_progress_bar=False, num_sanity_val_steps=0,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=directory, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(module, Batches(steps, list(lengths)))
    return trainer


def module_of(directory: Path, **options: Any) -> RoleModule:
    seed_everything(0)
    return RoleModule(str(directory), TEAM, lora=LoraSettings(r=16), lr=1e-3, lr_schedule="constant", **options)


def adapter_gradients(directory: Path, quantization: Quantization) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states, and all gradients of an adapter in one vector."""
    base = load_base(directory, quantization, device=CUDA)
    model = add_adapters(base, ["executor"], LoraSettings(r=16), seed=0).train()
    batch = make_batch("executor", [200, 100])
    with torch.autocast("cuda", torch.bfloat16):
        hidden = packed_hidden_states(base.get_decoder(), batch["input_ids"].cuda(), batch["position_ids"].cuda())
    hidden.float().square().mean().backward()
    gradients = [p.grad.flatten() for n, p in model.named_parameters() if "lora_B" in n and p.grad is not None]
    return hidden.detach().float().flatten(), torch.cat(gradients)


def test_four_bits_compute_nearly_what_sixteen_do(model_directory: Path) -> None:
    for four, sixteen in zip(*(adapter_gradients(model_directory, q) for q in ("nf4", "none")), strict=True):  # type: ignore[arg-type]
        assert torch.isfinite(four).all()
        assert torch.cosine_similarity(four, sixteen, dim=0) > 0.9


def test_variable_length_attention_keeps_packed_sequences_apart(model_directory: Path) -> None:
    base = load_base(model_directory, "none", device=CUDA)
    base.requires_grad_(True).train()
    lengths = [5, 170, 1, 400, 64]
    batch = make_batch("executor", lengths)
    ids, positions = batch["input_ids"].cuda(), batch["position_ids"].cuda()
    weight = base.model.layers[0].self_attn.q_proj.weight
    results = []
    for kernel in ("varlen", "sdpa"):
        hidden = packed_hidden_states(base.model, ids, positions, kernel)
        (gradient,) = torch.autograd.grad(hidden.float().square().sum(), weight)
        results.append((hidden.float(), gradient.float()))
    alone = [base.model(part, use_cache=False).last_hidden_state for part in ids.split(lengths, dim=1)]
    (varlen, varlen_gradient), (sdpa, sdpa_gradient) = results
    torch.testing.assert_close(varlen, torch.cat(alone, dim=1).float(), atol=6e-2, rtol=6e-2)
    torch.testing.assert_close(varlen, sdpa, atol=6e-2, rtol=6e-2)
    assert torch.cosine_similarity(varlen_gradient.flatten(), sdpa_gradient.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("choice", ["chunked", "fused", "liger"])
def test_every_loss_is_the_plain_loss(choice: Loss) -> None:
    if choice == "liger" and find_spec("liger_kernel") is None:
        pytest.skip("liger-kernel is not installed")
    torch.manual_seed(0)
    head = torch.nn.Linear(512, VOCABULARY, bias=False, device=CUDA).requires_grad_(False)
    check_loss(choice, head, CUDA)
    targets = torch.randint(0, VOCABULARY, (5000,), device=CUDA)
    results = []
    for way in (choice, "plain"):
        torch.manual_seed(1)
        hidden = torch.randn(5000, 512, device=CUDA, requires_grad=True)
        loss = summed_cross_entropy(hidden, head, targets, way)
        results.append((loss, *torch.autograd.grad(loss, hidden)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-4)


def test_training_goes_on_after_validations_and_every_role_learns(model_directory: Path, tmp_path: Path) -> None:
    module = module_of(model_directory)
    first = fit(module, tmp_path, steps=12).callback_metrics["val/loss"]
    second = fit(module, tmp_path, steps=12).callback_metrics["val/loss"]
    assert second < first
    module.train()
    for role in TEAM:
        module.zero_grad()
        batch = {
            key: value.cuda() if hasattr(value, "cuda") else value for key, value in make_batch(role, [64]).items()
        }
        module.to(CUDA).loss(batch)[0].backward()
        with_gradient = [n for n, p in module._lora_parameters().items() if p.grad is not None and p.grad.any()]
        assert len(with_gradient) >= 4 * 7
        assert all(f".{role}." in name for name in with_gradient)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"])
def test_every_optimiser_learns(model_directory: Path, tmp_path: Path, optimizer: OptimizerName) -> None:
    module = module_of(model_directory, optimizer=optimizer)
    first = fit(module, tmp_path, steps=3).callback_metrics["val/loss"]
    assert fit(module, tmp_path, steps=12).callback_metrics["val/loss"] < first


@pytest.mark.parametrize("checkpointing", ["none", "full"])
def test_compiled_layers_learn_the_same_and_compile_once_a_role(
    model_directory: Path, tmp_path: Path, checkpointing: Any
) -> None:
    from torch._dynamo.utils import counters

    losses = []
    for mode in ("none", "default"):
        compute = ComputeSettings(compile=mode, activation_checkpointing=checkpointing)  # type: ignore[arg-type]
        module = module_of(model_directory, compute=compute)
        losses.append(float(fit(module, tmp_path).callback_metrics["val/loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    graphs = counters["stats"]["unique_graphs"]
    fit(module, tmp_path, lengths=(100, 900, 50))
    assert counters["stats"]["unique_graphs"] == graphs


def test_peak_memory_falls_with_each_option(
    model_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints a table; a peak that no longer falls is a regression."""
    options = {
        "plain loss": ComputeSettings(loss="plain"),
        "chunked loss": ComputeSettings(),
        "selective checkpointing": ComputeSettings(activation_checkpointing="selective"),
        "full checkpointing": ComputeSettings(activation_checkpointing="full"),
    }
    peaks = {}
    for name, compute in options.items():
        gc.collect()
        torch.cuda.empty_cache()
        module = module_of(model_directory, compute=compute)
        torch.cuda.reset_peak_memory_stats()
        fit(module, tmp_path, steps=3, lengths=(4000, 4000))
        peaks[name] = torch.cuda.max_memory_allocated() / 2**30
        del module
    with capsys.disabled():
        print(f"\nPeak memory at 8,000 tokens, NF4, {torch.cuda.get_device_name()}")
        for name, peak in peaks.items():
            print(f"  {name:<26} {peak:6.2f} GiB")
    values = list(peaks.values())
    assert values == sorted(values, reverse=True)
