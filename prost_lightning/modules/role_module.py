"""The LightningModule: one frozen base, one LoRA adapter for each role, trained on packed batches of one role each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from peft import PeftModel
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedTokenizerBase
from typing_extensions import override

from prost_lightning.agents.local_policy import LocalPolicy
from prost_lightning.allocation import allocation, size_label
from prost_lightning.errors import UserError
from prost_lightning.flops import ModelShape, training_flops
from prost_lightning.modules.adapters import AdapterSwitch, seeded
from prost_lightning.modules.checkpointing import checkpoint_activations, recomputed_share
from prost_lightning.modules.compilation import compile_layers
from prost_lightning.modules.compute import ComputeSettings
from prost_lightning.modules.held_out_losses import HeldOutLosses
from prost_lightning.modules.losses import check_logits, check_loss, summed_cross_entropy
from prost_lightning.modules.optimizers import OptimizerName, make_optimizer
from prost_lightning.modules.packed_attention import Kernel, attention_kernel, packed_hidden_states, sequence_lengths
from prost_lightning.modules.qlora import (
    LoraSettings,
    Quantization,
    add_adapters,
    compute_dtype,
    export_adapters,
    load_base,
    load_tokenizer,
)
from prost_lightning.modules.schedule import Decay, LearningRateCurve, OwnStepsSchedule
from prost_lightning.modules.sharding import ShardedStrategy, shard_layers, whole
from prost_lightning.modules.strategies import check_strategy
from prost_lightning.trajectory import Role

IGNORED = -100
"""Label of tokens without a loss."""

DEFAULT_LORA = LoraSettings()
DEFAULT_COMPUTE = ComputeSettings()


class RoleModule(LightningModule):
    """Trains a team's adapters by supervised fine-tuning.

    A batch belongs to one role: a dictionary with ``role``, and ``input_ids``, ``position_ids`` and ``labels`` of shape
    (1, T), several sequences one after the other, as :mod:`prost_lightning.datamodules.collate` makes them. Only that
    role's adapter is active and gets gradients.

    The loss of an optimiser step is the mean over the labelled tokens of all its micro-batches, over ranks and
    accumulation, if batches say how many those are (``step_supervised_tokens``); else it is a mean of means.

    Roles that are trained together become what they would become alone: each adapter has its own initialisation,
    dropout masks, learning rate (by its own steps) and gradient norm to be clipped. The steps of a batch must not mix
    roles for that, which is the data module's work.

    Logged: ``train/loss`` and ``train/loss_<role>`` (each micro-batch), ``train/tokens`` and
    ``train/supervised_tokens`` (summed over the epoch and all processes), ``val/loss`` and ``val/loss_<role>`` (mean
    over tokens); the same under ``test/``. ``val/active_loss`` is that of the items in the active pool alone, where
    batches tell them apart (``active``).

    The defaults of training are this project's choice, not the paper's.

    Args:
        base_model: A built-in name (``smollm2-135m-instruct``), a local directory, or a Hugging Face hub id.
        roles: Adapters to train, one each. ``single`` trains the baseline agent.
        quantization: ``nf4`` keeps the base in 4 bits (bitsandbytes, on CPU and CUDA); ``none`` does not.
        lora: Shape of the adapters.
        lr: Peak learning rate of AdamW.
        weight_decay: AdamW's weight decay.
        warmup_share: Share of a role's optimiser steps in which its learning rate rises linearly from 0.
        lr_schedule: How it goes on from there to ``final_lr_share``.
        final_lr_share: What is left of the learning rate in the end, as a share of ``lr``.
        optimizer: ``adamw``, ``adamw_8bit`` (states in 8 bits), or, on GPUs, ``paged_adamw`` and ``paged_adamw_8bit``
            (states that move to the host when memory runs out).
        compute: Attention, loss, activation checkpointing and compilation.
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
        lr_schedule: Decay = "cosine",
        final_lr_share: float = 0.1,
        optimizer: OptimizerName = "adamw",
        compute: ComputeSettings = DEFAULT_COMPUTE,
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
        self.lr_curve = LearningRateCurve(warmup_share, lr_schedule, final_lr_share)
        self.optimizer_name = optimizer
        self.compute_settings = compute
        # Checkpoints hold the adapters only; the base comes from where it came from.
        self.strict_loading = False
        self.network: PeftModel | None = None
        self._micro_batches = dict.fromkeys(self.roles, 0)  # done so far; seeds dropout
        self._held_out = HeldOutLosses(self.roles)

    @override
    def setup(self, stage: str) -> None:
        check_strategy(
            self.trainer.strategy,
            n_roles=len(self.roles) if stage == "fit" else 0,
            optimizer=self.optimizer_name,
            compile=self.compute_settings.compile,
        )

    @override
    def configure_model(self) -> None:
        if self.network is not None:  # Lightning asks again for each of fit, validate and test
            return
        trainer = self._trainer
        device = trainer.strategy.root_device if trainer is not None else self.device
        # Only floating-point tensors can be cut into pieces.
        storage = compute_dtype(device) if self._sharded else torch.uint8
        base = load_base(self.base_model, self.quantization, device=device, quant_storage=storage)
        check_logits(base.config)
        check_loss(self.compute_settings.loss, base.get_output_embeddings(), device)
        self._kernel: Kernel = attention_kernel(self.compute_settings.attention, device, base.dtype)
        checkpoint_activations(base, self.compute_settings.activation_checkpointing)
        self.network = add_adapters(base, self.roles, self.lora).train()
        self._adapters = AdapterSwitch(self.network)
        if trainer is not None and isinstance(trainer.strategy, ShardedStrategy):
            shard_layers(self.network, trainer.strategy.mesh)
            self._adapters = AdapterSwitch(self.network)  # with the pieces for weights
        compile_layers(base, self.compute_settings.compile, adapters=len(self.roles))

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
        if self._sharded:
            raise UserError(
                "AppWorldEval: a sharded model cannot play episodes, in which processes do not keep step; leave the "
                "callback out, and play with `evaluate --adapters` afterwards."
            )
        return LocalPolicy(self._network, self.tokenizer, name=self.base_model, max_batch=max_batch)

    def export_adapters(self, directory: str | Path) -> None:
        """Writes each adapter in PEFT's format to ``directory/<role>``.

        With :class:`~prost_lightning.modules.sharding.ShardedStrategy` all processes have to call it; the first writes.
        """
        weights = self._whole_adapters()
        if not self._sharded or self.trainer.is_global_zero:
            export_adapters(self._network, directory, weights)

    def training_flops(self, batch: dict[str, Any]) -> float:
        """Floating-point operations of one training step on a batch; see :mod:`prost_lightning.flops`."""
        base: Any = self._network.get_base_model()
        return training_flops(
            self.shape,
            sequence_lengths(batch["position_ids"]),
            supervised_tokens=int((batch["labels"] != IGNORED).sum()),
            adapter_parameters=sum(p.numel() for p in self._adapters.parameters[batch["role"]].values()),
            recomputed_share=recomputed_share(base),
        )

    def loss(self, batch: dict[str, Any]) -> tuple[Tensor, int]:
        """Summed cross-entropy of the labelled tokens under their role's adapter, in float32.

        Args:
            batch: See the class. Without a label, the sum is zero and so are the gradients of the role's adapter.

        Returns:
            The sum, and how many tokens it goes over.
        """
        hidden, targets, _ = self._supervised(batch)
        return self._cross_entropy(hidden, targets), len(targets)

    def group_losses(self, batch: dict[str, Any], group: Tensor, n_groups: int) -> Tensor:
        """Summed cross-entropy of the labelled tokens of each group of tokens, in float32.

        Args:
            batch: See the class.
            group: Which group each token belongs to, 0 to n_groups - 1, shape (1, T).
            n_groups: Number of groups.

        Returns:
            The sum and the number of tokens of each group, shape (n_groups, 2).
        """
        hidden, targets, places = self._supervised(batch)
        of_target = group[0].to(places.device)[places]
        losses = torch.zeros(n_groups, 2, device=hidden.device)
        for index in sorted(set(of_target.tolist())):
            members = of_target == index
            losses[index, 0] = self._cross_entropy(hidden[members], targets[members])
            losses[index, 1] = members.sum()
        return losses

    def _supervised(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the states (N, hidden size) that predict the labelled tokens (N,), and the tokens' places (N,)."""
        network = self._network
        if batch["role"] not in self.roles:
            raise UserError(
                f"model.roles={list(self.roles)}: the data has a batch for {batch['role']}; name the same roles."
            )
        self._adapters.activate(batch["role"])
        causal_model: Any = network.get_base_model()
        # Adapters' weights are kept in float32; computing with them as the base computes is a sixth faster on CPUs.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=causal_model.dtype == torch.bfloat16):
            decoder = causal_model.get_decoder()
            hidden = packed_hidden_states(decoder, batch["input_ids"], batch["position_ids"], self._kernel)[0]
        # The state at t predicts token t + 1; a sequence's first token has no state before it.
        labels = batch["labels"][0, 1:].masked_fill(batch["position_ids"][0, 1:] == 0, IGNORED)
        supervised = (labels != IGNORED).nonzero().flatten()
        return hidden[supervised], labels[supervised], supervised + 1

    def _cross_entropy(self, hidden: Tensor, targets: Tensor) -> Tensor:
        causal_model: Any = self._network.get_base_model()
        return summed_cross_entropy(hidden, causal_model.get_output_embeddings(), targets, self.compute_settings.loss)

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        with self._dropout_of(batch["role"]):
            total, supervised = self.loss(batch)
        self._micro_batches[batch["role"]] += 1
        mean = total.detach() / max(1, supervised)
        each_step = {"train/loss": mean, f"train/loss_{batch['role']}": mean}
        self.log_dict(each_step, on_step=True, on_epoch=False, prog_bar=False, batch_size=supervised)
        self.log("loss", mean, prog_bar=True, logger=False, batch_size=supervised)
        counts = {"train/tokens": float(batch["input_ids"].numel()), "train/supervised_tokens": float(supervised)}
        self.log_dict(counts, on_step=False, on_epoch=True, reduce_fx="sum", sync_dist=True, batch_size=1)
        if "step_supervised_tokens" not in batch:
            return total / max(1, supervised)
        # Lightning takes the mean over the accumulation window, and DDP the one over ranks; this makes them sums.
        micro_batches = self.trainer.world_size * self.trainer.accumulate_grad_batches
        weighted: Tensor = total * (micro_batches / batch["step_supervised_tokens"])
        return weighted

    def _dropout_of(self, role: Role) -> AbstractContextManager[None]:
        """Seeds dropout by the role's own micro-batches, so that its masks do not depend on other roles."""
        if self.lora.dropout == 0:
            return nullcontext()
        return seeded(torch.initial_seed(), "dropout", role, self._micro_batches[role], self.global_rank)

    # --- held-out data --------------------------------------------------------------------------------------------

    @override
    def on_validation_epoch_start(self) -> None:
        self._held_out.begin(self.device)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        active = batch.get("active", torch.zeros_like(batch["labels"]))
        self._held_out.add(batch["role"], self.group_losses(batch, active.long(), 2))

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_held_out("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    @override
    def on_test_epoch_end(self) -> None:
        self._log_held_out("test")

    def _log_held_out(self, prefix: str) -> None:
        for name, loss in self._held_out.means(self.trainer.strategy).items():
            self.log(f"{prefix}/{name}", loss)

    # --- optimiser and state --------------------------------------------------------------------------------------

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        self._adapters.train_all()
        weights: dict[str, list[Parameter]] = {
            role: list(self._adapters.parameters[role].values()) for role in self.roles
        }
        optimizer = make_optimizer(self.optimizer_name, weights, lr=self.lr, weight_decay=self.weight_decay)
        totals = self._total_steps()
        scheduler = OwnStepsSchedule(optimizer, self.lr_curve, [totals[role] for role in self.roles])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _total_steps(self) -> dict[Role, int]:
        """Optimiser steps of each role in the whole fit. What is to come is known to the data module only."""
        trainer = self.trainer
        datamodule = getattr(trainer, "datamodule", None)
        by_role = getattr(datamodule, "optimizer_steps_by_role", None)
        if by_role is not None:
            steps: dict[Role, int] = by_role()
            return {role: steps.get(role, 0) for role in self.roles}
        # Whoever cannot tell the roles apart gets the same learning rates for all, along the whole of the run.
        planned = getattr(datamodule, "total_optimizer_steps", None)
        total = planned() if planned is not None else int(trainer.estimated_stepping_batches)
        return dict.fromkeys(self.roles, min(total, trainer.max_steps) if trainer.max_steps > 0 else total)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = {f"network.{name}": tensor for name, tensor in self._whole_adapters().items()}
        checkpoint["micro_batches"] = dict(self._micro_batches)

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
        self._micro_batches |= checkpoint.get("micro_batches", {})

    def _lora_parameters(self) -> dict[str, Parameter]:
        """All adapters' weights by name, whichever adapter is active."""
        return {name: weight for weights in self._adapters.parameters.values() for name, weight in weights.items()}

    def _whole_adapters(self) -> dict[str, Tensor]:
        """All adapters' weights by name, put together from all processes where they are sharded."""
        return {name: whole(weight.detach()) for name, weight in self._lora_parameters().items()}

    @property
    def _sharded(self) -> bool:
        """Whether this process has a piece of the model only."""
        return self._trainer is not None and isinstance(self._trainer.strategy, ShardedStrategy)

    @property
    def _network(self) -> PeftModel:
        if self.network is None:
            raise RuntimeError("the model is not loaded yet: call configure_model(), or run a Trainer with this module")
        return self.network
