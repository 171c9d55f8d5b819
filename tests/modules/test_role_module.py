from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from prost_lightning.errors import UserError
from prost_lightning.modules.compute import ComputeSettings
from prost_lightning.modules.qlora import LoraSettings, Quantization
from prost_lightning.modules.role_module import RoleModule

LORA = LoraSettings(r=4, alpha=8)
TEAM = ("orchestrator", "executor", "critic")


def make_batch(role: str, lengths: list[int], seed: int = 0) -> dict[str, Any]:
    """Packed sequences of random tokens of which the later half has labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(3, 500, (length,), generator=generator) for length in lengths]
    labels = [torch.where(torch.arange(len(part)) >= len(part) // 2, part, -100) for part in ids]
    return {
        "role": role,
        "input_ids": torch.cat(ids)[None],
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "labels": torch.cat(labels)[None],
    }


class Batches(LightningDataModule):
    """Ready-made batches, in the order in which they are given."""

    def __init__(self, roles: list[str], val_roles: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.train = [make_batch(role, [20, 12], seed) for seed, role in enumerate(roles)]
        self.val = [make_batch(role, [20, 12], 100 + seed) for seed, role in enumerate(val_roles)]

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val, batch_size=None)


def trainer(directory: Path, **options: Any) -> Trainer:
    settings = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False, "max_epochs": 1,
        "enable_model_summary": False, "enable_checkpointing": False, "num_sanity_val_steps": 0,
    }  # fmt: skip
    return Trainer(default_root_dir=directory, **(settings | options))


def adapters(module: RoleModule) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module._lora_parameters().items()}


def changed_roles(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {
        role for role in TEAM for name in before if f".{role}." in name and not torch.equal(before[name], after[name])
    }


@pytest.fixture
def module(tiny_model: Path) -> Iterator[RoleModule]:
    seed_everything(3)
    module = RoleModule(str(tiny_model), lora=LORA, lr=1e-2, weight_decay=0.1)
    module.configure_model()
    return module


def test_loss_is_the_mean_over_all_labels_of_separate_sequences(tiny_model: Path) -> None:
    module = RoleModule(str(tiny_model), quantization="none", lora=LORA)
    module.configure_model()
    network = module.network
    assert network is not None
    network.float()
    lengths = [9, 30, 2, 17]
    batch = make_batch("executor", lengths)
    total, count = 0.0, 0
    for ids, labels in zip(*(batch[key].split(lengths, dim=1) for key in ("input_ids", "labels")), strict=True):
        tokens = int((labels[:, 1:] != -100).sum())  # a first token has nothing to be predicted from
        total += network(input_ids=ids, labels=labels).loss.item() * tokens
        count += tokens
    loss, supervised = module.loss(batch)
    assert supervised == count
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_a_first_token_is_never_predicted_from_the_sequence_before(module: RoleModule) -> None:
    batch = make_batch("executor", [4, 4])
    batch["labels"] = batch["input_ids"].clone()
    assert module.loss(batch)[1] == 6


def test_only_the_role_of_the_batch_is_trained(module: RoleModule, tmp_path: Path) -> None:
    """Not even by momentum and weight decay, once the role has been trained."""
    trainer(tmp_path).fit(module, Batches(list(TEAM)))
    before = adapters(module)
    module.configure_model()
    optimizer = module.trainer.optimizers[0]
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    optimizer.zero_grad()
    module.loss(make_batch("executor", [20], 7))[0].backward()
    optimizer.step()
    assert changed_roles(before, adapters(module)) == {"executor"}


def test_accumulation_over_roles_trains_each_of_them(module: RoleModule, tmp_path: Path) -> None:
    before = adapters(module)
    trainer(tmp_path, accumulate_grad_batches=3, gradient_clip_val=1.0).fit(
        module, Batches(["critic", "executor", "critic"])
    )
    assert module.trainer.global_step == 1
    assert changed_roles(before, adapters(module)) == {"critic", "executor"}


def test_training_goes_on_after_a_validation(module: RoleModule, tmp_path: Path) -> None:
    """With 4-bit weights, where a repacking in the validation would cut gradients off (see test_qlora)."""
    fit = trainer(tmp_path, max_epochs=1, val_check_interval=1)
    before = adapters(module)
    fit.fit(module, Batches(["executor"] * 3, val_roles=TEAM))
    first = adapters(module)
    assert changed_roles(before, first) == {"executor"}
    trainer(tmp_path).fit(module, Batches(["executor"]))
    moved = [
        name
        for name, tensor in adapters(module).items()
        if ".executor." in name and not torch.equal(tensor, first[name])
    ]
    assert len(moved) == 2 * 2 * 7
    assert set(fit.callback_metrics) >= {"train/loss", "val/loss", *(f"val/loss_{role}" for role in TEAM)}


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_the_loss_falls_and_recomputing_activations_changes_nothing(
    tiny_model: Path, tmp_path: Path, quantization: Quantization
) -> None:
    batch = make_batch("single", [20, 12])
    data = Batches([])
    data.train = [batch] * 10
    losses = []
    for checkpointing in ("none", "selective", "full"):
        seed_everything(0)
        module = RoleModule(
            str(tiny_model),
            roles=("single",),
            quantization=quantization,
            lr=3e-2,
            lr_schedule="constant",
            compute=ComputeSettings(activation_checkpointing=checkpointing),
        )
        module.configure_model()
        before = module.loss(batch)[0].item()
        trainer(tmp_path).fit(module, data)
        losses.append(module.loss(batch)[0].item())
        assert losses[-1] < before - 2
    assert losses[0] == losses[1] == losses[2]


def test_a_checkpoint_holds_adapters_only_and_resumes_exactly(tiny_model: Path, tmp_path: Path) -> None:
    def run(max_steps: int, ckpt_path: Path | None = None) -> RoleModule:
        seed_everything(5 if ckpt_path is None else 6)
        module = RoleModule(str(tiny_model), lora=LORA, lr_schedule="constant")
        trainer(tmp_path, max_steps=max_steps, max_epochs=-1).fit(module, data, ckpt_path=ckpt_path)
        return module

    data = Batches([TEAM[index % 3] for index in range(6)])
    whole = run(12)
    half = run(6)
    path = tmp_path / "half.ckpt"
    half.trainer.save_checkpoint(path)
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert saved.keys() == {f"network.{name}" for name in adapters(half)}
    resumed = run(12, path)
    for name, tensor in adapters(whole).items():
        assert torch.equal(adapters(resumed)[name], tensor)


class StepsByRole(Batches):
    """Ready-made steps, and how many of them each role has."""

    def __init__(self, roles: list[str]) -> None:
        super().__init__([])
        seeds = {role: 100 * index for index, role in enumerate(TEAM)}
        for role in roles:
            self.train.append(make_batch(role, [20, 12], seeds[role]))
            seeds[role] += 1

    def optimizer_steps_by_role(self) -> dict[str, int]:
        return {role: sum(batch["role"] == role for batch in self.train) for role in TEAM}


def test_roles_trained_together_become_what_they_become_alone(tiny_model: Path, tmp_path: Path) -> None:
    """Initialisation, dropout, learning rate, momentum and clipping of a role know nothing of the others."""

    def train(roles: tuple[str, ...]) -> dict[str, torch.Tensor]:
        seed_everything(3)
        lora = LoraSettings(r=4, alpha=8, dropout=0.1)
        module = RoleModule(str(tiny_model), roles=roles, lora=lora, lr=1e-2, weight_decay=0.1)  # type: ignore[arg-type]
        data = StepsByRole([role for role in order if role in roles])
        trainer(tmp_path, gradient_clip_val=0.5).fit(module, data)
        return adapters(module)

    order = ["critic", "executor", "executor", "orchestrator", "executor", "critic"]
    together = train(TEAM)
    alone = {name: tensor for role in TEAM for name, tensor in train((role,)).items()}
    assert together.keys() == alone.keys()
    for name, tensor in alone.items():
        assert torch.equal(together[name], tensor), name


def test_a_step_is_the_mean_over_its_tokens_however_it_is_divided(tiny_model: Path, tmp_path: Path) -> None:
    """One big batch, an accumulation of uneven micro-batches (one of them empty), and the gradient of the mean."""
    lengths = [20, 12, 7]
    whole = make_batch("executor", lengths)
    supervised = int((whole["labels"] != -100).sum())
    parts = [
        {key: whole[key].split(lengths, dim=1)[index] for key in ("input_ids", "position_ids", "labels")}
        for index in range(3)
    ]
    empty = {"input_ids": torch.zeros(1, 1, dtype=torch.long), "position_ids": torch.zeros(1, 1, dtype=torch.long)}
    empty["labels"] = torch.full((1, 1), -100)
    results = []
    for micro_batches in ([whole], [*parts, empty]):
        seed_everything(1)
        module = RoleModule(str(tiny_model), ("executor",), quantization="none", lora=LORA)
        module.configure_model()
        module._network.float()
        data = Batches([])
        data.train = [{"role": "executor", **part, "step_supervised_tokens": supervised} for part in micro_batches]
        gradients: dict[str, torch.Tensor] = {}

        class Catch(Callback):
            def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
                gradients.update({n: p.grad.clone() for n, p in pl_module._lora_parameters().items()})  # noqa: B023

        trainer(tmp_path, accumulate_grad_batches=len(micro_batches), callbacks=[Catch()]).fit(module, data)
        results.append(gradients)
    assert any(gradient.abs().max() > 1e-3 for gradient in results[0].values())
    for name, gradient in results[0].items():
        torch.testing.assert_close(results[1][name], gradient, rtol=1e-5, atol=1e-6)


def test_training_goes_on_after_an_episode_was_played(module: RoleModule) -> None:
    """Playing makes one adapter the only trainable one; a switch makes the next one trainable again."""
    module._network.set_adapter("critic")
    module.loss(make_batch("executor", [8]))[0].backward()
    with_gradient = {name for name, weight in module._lora_parameters().items() if weight.grad is not None}
    assert len(with_gradient) == 2 * 2 * 7
    assert all(".executor." in name for name in with_gradient)
    assert module._network.active_adapter == "executor"


def test_plain_ddp_with_several_roles_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ddp_find_unused_parameters_true"):
        trainer(tmp_path, strategy="ddp").fit(RoleModule(str(tiny_model), lora=LORA), Batches(["executor"]))


def test_options_that_need_a_gpu_are_refused_without_one(tiny_model: Path) -> None:
    module = RoleModule(str(tiny_model), lora=LORA, compute=ComputeSettings(attention="varlen"))
    with pytest.raises(UserError, match="attention=varlen needs an NVIDIA GPU"):
        module.configure_model()


def test_a_checkpoint_of_other_adapters_is_refused(module: RoleModule, tiny_model: Path, tmp_path: Path) -> None:
    fit = trainer(tmp_path)
    fit.fit(module, Batches(["executor"]))
    fit.save_checkpoint(tmp_path / "team.ckpt")
    other = RoleModule(str(tiny_model), roles=("single",), lora=LORA)
    with pytest.raises(UserError, match=r"do not fit .*roles=\['single'\]"):
        trainer(tmp_path).fit(other, Batches(["single"]), ckpt_path=tmp_path / "team.ckpt")


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.1), ("linear", 0.1), ("constant", 1.0)])
def test_learning_rate_warms_up_and_ends_where_the_data_module_says(
    tiny_model: Path, tmp_path: Path, schedule: Any, last: float
) -> None:
    class Growing(Batches):
        def total_optimizer_steps(self) -> int:
            return 40  # more than Lightning would guess from this epoch's length

    module = RoleModule(str(tiny_model), lora=LORA, lr=1.0, warmup_share=0.1, lr_schedule=schedule)
    module.configure_model()
    logger = CSVLogger(tmp_path, name="log", version="")
    fit = trainer(tmp_path, logger=logger, callbacks=[LearningRateMonitor()], log_every_n_steps=1)
    fit.fit(module, Growing(["executor"] * 10))
    share = [module.lr_curve.share(step, 40) for step in range(41)]
    rates = [row["lr-AdamW/executor"] for row in logger.experiment.metrics if "lr-AdamW/executor" in row]
    assert rates == pytest.approx(share[: len(rates)])
    assert share[0] < share[3] < share[4] == 1.0
    assert share[4:] == sorted(share[4:], reverse=True)
    assert share[40] == pytest.approx(last)


def test_settings_that_make_no_sense_are_named(tiny_model: Path) -> None:
    with pytest.raises(UserError, match="roles"):
        RoleModule(str(tiny_model), roles=("executor", "executor"))
    with pytest.raises(UserError, match="warmup_share"):
        RoleModule(str(tiny_model), warmup_share=5)
    module = RoleModule(str(tiny_model), roles=("single",), lora=LORA)
    module.configure_model()
    with pytest.raises(UserError, match="executor"):
        module.loss(make_batch("executor", [8]))


def test_training_operations_grow_with_tokens(module: RoleModule) -> None:
    short, long = (module.training_flops(make_batch("critic", lengths)) for lengths in ([16], [16, 16]))
    assert long == pytest.approx(2 * short)


def test_the_real_model_learns_and_plays(smollm2: str, tmp_path: Path) -> None:
    """NF4 + LoRA on the real model: train, play, train again; then it says what it was taught."""
    from prost_lightning.agents.policy import PolicyRequest
    from prost_lightning.trajectory import Message

    seed_everything(0)
    module = RoleModule(smollm2, roles=("executor",), lr=3e-3, lr_schedule="constant", warmup_share=0.0)
    user = {"role": "user", "content": "Log in to Spotify."}
    reply = "print(spotify_token)"
    prompt = module.tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    start = len(module.tokenizer(prompt)["input_ids"])
    ids = torch.tensor([module.tokenizer(prompt + reply + "<|im_end|>")["input_ids"]])
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < start, -100)
    data = Batches([])
    positions = torch.arange(ids.shape[1])[None]
    data.train = [{"role": "executor", "input_ids": ids, "position_ids": positions, "labels": labels}] * 6
    request = PolicyRequest("task_1", "executor", 1, 0, (Message("user", user["content"]),), 12)

    trainer(tmp_path).fit(module, data)
    policy = module.policy()
    policy.generate([request])
    trainer(tmp_path).fit(module, data)
    assert policy.generate([request])[0].text == reply
