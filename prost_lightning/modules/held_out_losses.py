"""Losses of held-out tokens: by role, and of the active pool alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor

from prost_lightning.trajectory import Role


class HeldOutLosses:
    """Sums losses batch by batch; in the end, means go over the tokens of all processes.

    Args:
        roles: The roles that batches may be of.
    """

    def __init__(self, roles: Sequence[Role]) -> None:
        self._roles = tuple(roles)
        self._sums = torch.zeros(len(self._roles), 2, 2)

    def begin(self, device: torch.device) -> None:
        """Forgets what was measured.

        Args:
            device: Where losses will be.
        """
        self._sums = torch.zeros(len(self._roles), 2, 2, device=device)

    def add(self, role: Role, losses: Tensor) -> None:
        """Adds a batch.

        Args:
            role: Whose it is.
            losses: Summed loss and number of tokens, of the items that are not in the active pool and of those that
                are, shape (2, 2).
        """
        self._sums[self._roles.index(role)] += losses

    def means(self, strategy: Strategy) -> dict[str, float]:
        """Mean losses under the names ``loss``, ``loss_<role>`` and ``active_loss``, as far as there were tokens.

        Args:
            strategy: Adds up what the processes have. One may have had no batch of some role, so all of it is added up
                at once.
        """
        sums: Tensor = strategy.reduce(self._sums, reduce_op="sum")
        by_name = {f"loss_{role}": of_role for role, of_role in zip(self._roles, sums.sum(dim=1), strict=True)}
        by_name |= {"loss": sums.sum(dim=(0, 1)), "active_loss": sums[:, 1].sum(dim=0)}
        means = {}
        for name, of_tokens in by_name.items():
            loss, tokens = of_tokens.tolist()
            if tokens > 0:
                means[name] = loss / tokens
        return means
