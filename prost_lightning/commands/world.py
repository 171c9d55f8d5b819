"""Commands about generated worlds."""

from __future__ import annotations

from pathlib import Path


def world_build(
    root: Path = Path("worlds/mini"),
    seed: int = 7,
    train: int = 2,
    dev: int = 1,
    test_normal: int = 1,
    test_challenge: int = 1,
) -> None:
    """Generates an AppWorld world and verifies every task on the real engine.

    Args:
        root: Directory to create; the data lie in ROOT/data, as `appworld --root ROOT` expects.
        seed: Everything in the world follows from it.
        train: Scenarios a template in the train split (3 tasks each).
        dev: Scenarios a template in the dev split.
        test_normal: Scenarios a template in test_normal (new instances of the train templates).
        test_challenge: Scenarios a template in test_challenge (templates that train never shows).
    """
    from prost_lightning.miniworld.build import WorldSize, build_world

    size = WorldSize(train=train, dev=dev, test_normal=test_normal, test_challenge=test_challenge)
    print(f"World: {build_world(root, seed=seed, size=size)}")
