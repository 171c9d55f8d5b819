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


def world_show(*task_ids: str, root: Path = Path("worlds/mini")) -> None:
    """Prints tasks of a generated world: their people, sub-tasks, checks and requirements.

    Args:
        task_ids: The tasks, as `1a2b3c4_1`.
        root: The world's root.
    """
    from rich.console import Console

    from prost_lightning.miniworld.inspection import show_task

    for task_id in task_ids:
        show_task(root, task_id, Console())


def world_stats(
    root: Path = Path("worlds/mini"), tokenizer: str = "smollm2-135m-instruct", plot: Path | None = None
) -> None:
    """Prints a table of a generated world's templates, apps, difficulties and lengths in tokens.

    Args:
        root: The world's root.
        tokenizer: The model whose tokens are counted.
        plot: A PNG file to draw the lengths to.
    """
    from rich.console import Console

    from prost_lightning.miniworld.inspection import show_statistics
    from prost_lightning.modules.qlora import load_tokenizer

    encode = load_tokenizer(tokenizer).encode
    show_statistics(root, Console(), lambda text: len(encode(text)), plot)


def world_verify(root: Path = Path("worlds/mini"), split: str | None = None) -> None:
    """Verifies the tasks of a world on the engine again, generated or official.

    Args:
        root: The world's root; it is not changed.
        split: Only this split; by default all.
    """
    from prost_lightning.errors import UserError
    from prost_lightning.miniworld.inspection import verify_world

    faults = verify_world(root, split=split)
    if faults:
        raise UserError(f"{root}: {len(faults)} tasks are wrong. First: {faults[0]}")
    print(f"{root}: every task is as it should be.")
