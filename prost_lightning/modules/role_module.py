"""The LightningModule: one frozen base, one LoRA adapter for each role, trained on packed batches of one role each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import PeftModel
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase
from typing_extensions import override

from prost_lightning.agents.local_policy import LocalPolicy
from prost_lightning.allocation import allocation, size_label
from prost_lightning.errors import UserError
from prost_lightning.flops import ModelShape, training_flops
from prost_lightning.modules.packed_attention import packed_hidden_states, sequence_lengths
from prost_lightning.modules.qlora import (
    LoraSettings,
    Quantization,
    add_adapters,
    export_adapters,
    load_base,
    load_tokenizer,
)
from prost_lightning.trajectory import Role

IGNORED = -100
"""Label of tokens without a loss."""

DEFAULT_LORA = LoraSettings()


class RoleModule(LightningModule):
    """Trains a team's adapters by supervised fine-tuning.

    A batch belongs to one role: a dictionary with ``role``, and ``input_ids``, ``position_ids`` and ``labels`` of shape
    (1, T), several sequences one after the other, as :func:`prost_lightning.datamodules.collate.collate` makes them.
    Only that role's adapter is active and gets gradients. The output head, a large part of a small model's work, runs
    for tokens that have a label only.

    Logged: ``train/loss`` and ``train/loss_<role>`` (each step), ``train/tokens`` and ``train/supervised_tokens``
    (summed over the epoch), ``val/loss`` and ``val/loss_<role>`` (mean over tokens); the same under ``test/``.

    The defaults of training are this project's choice, not the paper's.

    Args:
        base_model: A built-in name (``smollm2-135m-instruct``), a local directory, or a Hugging Face hub id.
        roles: Adapters to train, one each. ``single`` trains the baseline agent.
        quantization: ``nf4`` keeps the base in 4 bits (bitsandbytes, on CPU and CUDA); ``none`` does not.
        lora: Shape of the adapters.
        lr: Peak learning rate of AdamW.
        weight_decay: AdamW's weight decay.
        warmup_share: Share of all optimiser steps in which the learning rate rises linearly from 0.
        lr_schedule: How it goes on from there to ``final_lr_share``.
        final_lr_share: What is left of the learning rate in the end, as a share of ``lr``.
        gradient_checkpointing: Compute activations again in the backward pass: about a third slower, far less memory.
    """

    def __init__(
        self,
        base_model: str = "smollm2-135m-instruct",
        roles: Sequence[Role] = ("orchestrator", "executor", "critic"),
        quantization: Quantization = "nf4",
        lora: LoraSettings = DEFAULT_LORA,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        warmup_share: float = 0.05,
        lr_schedule: Literal["cosine", "linear", "constant"] = "cosine",
        final_lr_share: float = 0.1,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if not roles or len(set(roles)) != len(roles):
            raise UserError(f"model.roles={list(roles)}: name at least one role, and each only once.")
        for name, share in (("warmup_share", warmup_share), ("final_lr_share", final_lr_share)):
            if not 0 <= share <= 1:
                raise UserError(f"model.{name}={share}: give a share between 0 and 1.")
        self.base_model = base_model
        self.roles = tuple(roles)
        self.quantization = quantization
        self.lora = lora
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup_share = warmup_share
        self.lr_schedule = lr_schedule
        self.final_lr_share = final_lr_share
        self.gradient_checkpointing = gradient_checkpointing
        # Checkpoints hold the adapters only; the base comes from where it came from.
        self.strict_loading = False
        self.network: PeftModel | None = None

    @override
    def configure_model(self) -> None:
        if self.network is not None:  # Lightning asks again for each of fit, validate and test
            return
        trainer = self._trainer
        device = trainer.strategy.root_device if trainer is not None else self.device
        base = load_base(self.base_model, self.quantization, device=device)
        if self.gradient_checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
        self.network = add_adapters(base, self.roles, self.lora).train()

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's tokenizer."""
        return load_tokenizer(self.base_model)

    @cached_property
    def shape(self) -> ModelShape:
        """The base's shape, for counting operations."""
        return ModelShape.from_config(self._network.config)

    @property
    def size(self) -> str:
        """Size of the base, as ``135M``."""
        return size_label(self._network.config)

    @property
    def allocation(self) -> str:
        """Sizes of the roles that are trained; in episodes, roles without an adapter may play as well."""
        return allocation(dict.fromkeys(self.roles, self.size))

    def policy(self, max_batch: int = 16) -> LocalPolicy:
        """Who plays episodes with the adapters as they are now.

        Args:
            max_batch: Most turns answered at once.
        """
        self.configure_model()
        return LocalPolicy(self._network, self.tokenizer, name=self.base_model, max_batch=max_batch)

    def export_adapters(self, directory: str | Path) -> None:
        """Writes each adapter in PEFT's format to ``directory/<role>``."""
        export_adapters(self._network, directory)

    def training_flops(self, batch: dict[str, Any]) -> float:
        """Floating-point operations of one training step on a batch; see :mod:`prost_lightning.flops`."""
        role_parameters = sum(p.numel() for name, p in self._lora_parameters().items() if f".{batch['role']}." in name)
        return training_flops(
            self.shape,
            sequence_lengths(batch["position_ids"]),
            supervised_tokens=int((batch["labels"] != IGNORED).sum()),
            adapter_parameters=role_parameters,
            recompute=self.gradient_checkpointing,
        )

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, int]:
        """Mean cross-entropy of the labelled tokens under their role's adapter, in float32.

        Args:
            batch: See the class.

        Returns:
            The loss, and how many tokens it is the mean of.
        """
        network = self._network
        if batch["role"] not in self.roles:
            raise UserError(
                f"model.roles={list(self.roles)}: the data has a batch for {batch['role']}; name the same roles."
            )
        network.set_adapter(batch["role"])
        causal_model: Any = network.get_base_model()
        # Adapters' weights are kept in float32; computing with them as the base computes is a sixth faster on CPUs.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=causal_model.dtype == torch.bfloat16):
            hidden = packed_hidden_states(causal_model.get_decoder(), batch["input_ids"], batch["position_ids"])[0]
        # The state at t predicts token t + 1; a sequence's first token has no state before it.
        labels = batch["labels"][0, 1:].masked_fill(batch["position_ids"][0, 1:] == 0, IGNORED)
        supervised = (labels != IGNORED).nonzero().flatten()
        if len(supervised) == 0:
            return hidden.sum() * 0.0, 0  # an empty micro-batch; see the data module's Batch
        logits = causal_model.get_output_embeddings()(hidden[supervised])
        return F.cross_entropy(logits.float(), labels[supervised]), len(supervised)

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss, supervised = self.loss(batch)
        each_step = {"train/loss": loss, f"train/loss_{batch['role']}": loss}
        self.log_dict(each_step, on_step=True, on_epoch=False, prog_bar=False, batch_size=supervised)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=supervised)
        counts = {"train/tokens": float(batch["input_ids"].numel()), "train/supervised_tokens": float(supervised)}
        self.log_dict(counts, on_step=False, on_epoch=True, reduce_fx="sum", batch_size=1)
        return loss

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        loss, supervised = self.loss(batch)
        # batch_size makes the epoch's mean a mean over tokens.
        self.log_dict({"val/loss": loss, f"val/loss_{batch['role']}": loss}, batch_size=supervised, sync_dist=True)

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        loss, supervised = self.loss(batch)
        self.log_dict({"test/loss": loss, f"test/loss_{batch['role']}": loss}, batch_size=supervised, sync_dist=True)

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        if self.trainer.world_size > 1:
            # Data-parallel wrappers look once at which weights get gradients; here that changes with each batch's role.
            raise UserError(
                f"trainer.devices: RoleModule trains on one device, not {self.trainer.world_size}; set it to 1."
            )
        # All roles' weights. Those of inactive adapters have no gradient in a step, and AdamW leaves them alone then.
        optimizer = torch.optim.AdamW(self._lora_parameters().values(), lr=self.lr, weight_decay=self.weight_decay)
        total = self._total_steps()
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._lr_share(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = {f"network.{name}": p.detach() for name, p in self._lora_parameters().items()}

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.configure_model()
        expected = {f"network.{name}": p.shape for name, p in self._lora_parameters().items()}
        found = {name: tensor.shape for name, tensor in checkpoint["state_dict"].items()}
        if found != expected:
            raise UserError(
                f"The checkpoint's adapters do not fit model.base_model={self.base_model} with roles={list(self.roles)}"
                f" and lora={asdict(self.lora)}; resume with the settings it was made with."
            )

    def _total_steps(self) -> int:
        """Optimiser steps of the whole fit. A growing pool is known to the data module only."""
        trainer = self.trainer
        planned = getattr(getattr(trainer, "datamodule", None), "total_optimizer_steps", None)
        total = planned() if planned is not None else int(trainer.estimated_stepping_batches)
        return min(total, trainer.max_steps) if trainer.max_steps > 0 else total

    def _lr_share(self, step: int, total: int) -> float:
        """The learning rate of a step (from 0), as a share of ``lr``."""
        warmup = math.ceil(self.warmup_share * total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.lr_schedule == "constant":
            return 1.0
        progress = min(1.0, (step - warmup) / max(1, total - warmup))
        left = 1 - progress if self.lr_schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return self.final_lr_share + (1 - self.final_lr_share) * left

    def _lora_parameters(self) -> dict[str, torch.nn.Parameter]:
        """All adapters' weights by name, whichever adapter is active."""
        return {name: parameter for name, parameter in self._network.named_parameters() if ".lora_" in name}

    @property
    def _network(self) -> PeftModel:
        if self.network is None:
            raise RuntimeError("the model is not loaded yet: call configure_model(), or run a Trainer with this module")
        return self.network
