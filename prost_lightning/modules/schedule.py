"""The learning rate of each role, by the steps that the role itself has made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

Decay = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class LearningRateCurve:
    """How the learning rate rises and falls.

    Attributes:
        warmup_share: Share of all steps in which it rises linearly from 0.
        decay: How it goes on from there to ``final_share``.
        final_share: What is left in the end, as a share of the peak.
    """

    warmup_share: float
    decay: Decay
    final_share: float

    def share(self, step: int, total: int) -> float:
        """The learning rate of a step (from 0) of ``total``, as a share of the peak."""
        warmup = math.ceil(self.warmup_share * total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.decay == "constant":
            return 1.0
        progress = min(1.0, (step - warmup) / max(1, total - warmup))
        left = 1 - progress if self.decay == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return self.final_share + (1 - self.final_share) * left


class OwnStepsSchedule(LRScheduler):
    """Moves each parameter group along the curve by the steps in which that group had gradients.

    A role that is trained beside others then has the learning rates that it would have alone. Lightning calls
    :meth:`step` after each optimiser step, while its gradients are still there.

    Args:
        optimizer: One parameter group a role.
        curve: How the learning rate rises and falls.
        totals: Steps that each group will make in the whole run.
    """

    def __init__(self, optimizer: Optimizer, curve: LearningRateCurve, totals: Sequence[int]) -> None:
        self.own_steps = [0] * len(optimizer.param_groups)
        self._curve = curve
        self._totals = list(totals)
        super().__init__(optimizer)

    @override
    def get_lr(self) -> list[float | Tensor]:
        return [
            base * self._curve.share(step, total)
            for base, step, total in zip(self.base_lrs, self.own_steps, self._totals, strict=True)
        ]

    @override
    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch >= 0:  # else it is the constructor that calls
            for index, group in enumerate(self.optimizer.param_groups):
                self.own_steps[index] += any(parameter.grad is not None for parameter in group["params"])
        super().step()

    @override
    def state_dict(self) -> dict[str, Any]:
        # Curve and totals come from the configuration, which may prolong a resumed run.
        return {name: value for name, value in super().state_dict().items() if name not in ("_curve", "_totals")}
