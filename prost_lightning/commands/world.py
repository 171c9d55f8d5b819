"""Commands about generated worlds."""

from __future__ import annotations

from pathlib import Path


def world_build(
    root: Path = Path("worlds/mini"),
    seed: int = 7,
    tasks: int | None = None,
    train: int = 240,
    dev: int = 60,
    test_normal: int = 120,
    test_challenge: int = 120,
    templates: list[str] | None = None,
    supervisors: int = 15,
) -> None:
    """Generates an AppWorld world and verifies every task on the real engine.

    Args:
        root: Directory to create; the data lie in ROOT/data, as `appworld --root ROOT` expects.
        seed: Everything in the world follows from it.
        tasks: Tasks in all, shared out as by default (the four below are then not looked at).
        train: Tasks in the train split, a multiple of 3.
        dev: Tasks in the dev split (new instances of the train templates).
        test_normal: Tasks in test_normal (new instances and wordings of the train templates).
        test_challenge: Tasks in test_challenge (templates that train never shows).
        templates: Use only these scenario templates, in this order.
        supervisors: Number of persons whose apps are full, 3 to 15.
    """
    from prost_lightning.miniworld.build import Recipe, WorldSize, build_world

    size = WorldSize(train, dev, test_normal, test_challenge) if tasks is None else WorldSize.of(tasks)
    recipe = Recipe(seed=seed, size=size, templates=tuple(templates or ()), supervisors=supervisors)
    print(f"World: {build_world(root, recipe)}")
