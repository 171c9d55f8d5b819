from __future__ import annotations

import pytest
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy, Strategy

from prost_lightning.errors import UserError
from prost_lightning.modules.sharding import ShardedStrategy
from prost_lightning.modules.strategies import check_strategy


@pytest.mark.parametrize(
    ("strategy", "n_roles"),
    [
        (SingleDeviceStrategy("cpu"), 3),
        (DDPStrategy(), 1),
        (DDPStrategy(), 0),
        (DDPStrategy(find_unused_parameters=True), 3),
        (ShardedStrategy(), 3),
    ],
)
def test_what_trains(strategy: Strategy, n_roles: int) -> None:
    check_strategy(strategy, n_roles=n_roles, optimizer="adamw", compile="none")


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (FSDPStrategy(), "with its own ShardedStrategy, not with FSDPStrategy; docs/distributed.md"),
        (DDPStrategy(), "of which there are 3; set it to ddp_find_unused_parameters_true"),
    ],
)
def test_what_does_not_is_refused(strategy: Strategy, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_strategy(strategy, n_roles=3, optimizer="adamw", compile="none")
