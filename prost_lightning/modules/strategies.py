"""How several processes may share the work, and which settings go with which way."""

from __future__ import annotations

from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy

from prost_lightning.errors import UserError
from prost_lightning.modules.compilation import Compile
from prost_lightning.modules.optimizers import OptimizerName
from prost_lightning.modules.sharding import ShardedStrategy, check_sharded_options


def check_strategy(strategy: Strategy, *, n_roles: int, optimizer: OptimizerName, compile: Compile) -> None:
    """Refuses strategies that a module with several adapters does not train with.

    Args:
        strategy: The trainer's.
        n_roles: How many adapters take turns in training; 0 where none is trained.
        optimizer: Name of the optimiser.
        compile: Mode of compilation.

    Raises:
        UserError: One sentence says what to choose.
    """
    if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
        raise UserError(
            f"trainer.strategy: RoleModule trains on one device, with DDP or with its own ShardedStrategy, not with "
            f"{type(strategy).__name__}; docs/distributed.md says how."
        )
    if isinstance(strategy, ShardedStrategy):
        check_sharded_options(optimizer, compile)
        return
    if isinstance(strategy, SingleDeviceStrategy) or n_roles <= 1:
        return
    if not strategy._ddp_kwargs.get("find_unused_parameters", False):
        raise UserError(
            f"trainer.strategy: the weights that get gradients change with each step's role, of which there are "
            f"{n_roles}; set it to ddp_find_unused_parameters_true."
        )
