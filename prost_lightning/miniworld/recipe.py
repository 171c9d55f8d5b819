"""What a world is asked to be, and the note that a finished world carries about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from prost_lightning.errors import UserError
from prost_lightning.miniworld.contents import SUPERVISORS

MINI_WORLD_FILE = "MINI_WORLD.json"
TASKS_PER_SCENARIO = 3


class WorldSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Number of tasks in each split; each a multiple of 3, since a scenario is three tasks of one template.

    Attributes:
        train: Tasks to train on.
        dev: New tasks of the same templates, to watch while training.
        test_normal: New tasks of the same templates, in wordings that train never shows, to report.
        test_challenge: Tasks of templates that occur in no other split.
    """

    train: int = 240
    dev: int = 60
    test_normal: int = 120
    test_challenge: int = 120

    def __post_init__(self) -> None:
        for split in self.__struct_fields__:
            tasks = getattr(self, split)
            if tasks < 0 or tasks % TASKS_PER_SCENARIO:
                raise UserError(f"size.{split} is {tasks}; it counts tasks, so set it to a multiple of 3, or to 0.")

    @property
    def total(self) -> int:
        """Tasks of all splits."""
        return sum(msgspec.structs.astuple(self))

    @classmethod
    def of(cls, tasks: int) -> Self:
        """The default's proportions for another number of tasks.

        Args:
            tasks: About how many tasks in all; each split is rounded to whole scenarios and has at least three of them,
                one of each difficulty.

        Raises:
            UserError: Too few for every split to have all difficulties.
        """
        default = cls()
        least = TASKS_PER_SCENARIO * 3 * len(cls.__struct_fields__)
        if tasks < least:
            raise UserError(
                f"tasks is {tasks}; a world whose splits have all three difficulties needs {least} or more."
            )
        scenarios = {
            split: max(3, round(getattr(default, split) * tasks / default.total / TASKS_PER_SCENARIO))
            for split in cls.__struct_fields__
        }
        return cls(**{split: number * TASKS_PER_SCENARIO for split, number in scenarios.items()})


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a world follows from, besides the generator itself.

    Attributes:
        seed: Seed of everything.
        size: Tasks a split.
        templates: The scenario templates to use, in this order; empty for all.
        supervisors: Number of persons whose apps are full, so that tasks can be about them.
    """

    seed: int = 7
    size: WorldSize = WorldSize()
    templates: tuple[str, ...] = ()
    supervisors: int = SUPERVISORS

    def __post_init__(self) -> None:
        if not TASKS_PER_SCENARIO <= self.supervisors <= SUPERVISORS:
            raise UserError(
                f"supervisors is {self.supervisors}; set it to {TASKS_PER_SCENARIO} to {SUPERVISORS}, since the tasks "
                "of a scenario are about different persons."
            )


class WorldNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of ``data/MINI_WORLD.json``: this is a generated world, and which.

    Attributes:
        kind: Always ``mini-world``.
        generator: Fingerprint of the generator's source, see :mod:`prost_lightning.miniworld.fingerprint`.
        appworld: Version of the ``appworld`` package.
        recipe: What the world was asked to be.
        content: Fingerprint of all other files of the world.
        templates: Task ids by template.
    """

    kind: str = "mini-world"
    generator: str
    appworld: str
    recipe: Recipe
    content: str
    templates: dict[str, list[str]]

    @property
    def seed(self) -> int:
        """Seed of the world."""
        return self.recipe.seed


def read_note(root: Path) -> WorldNote | None:
    """Reads the note of a generated world.

    Args:
        root: The world's root, the directory that holds ``data``.

    Returns:
        The note, or None where the root holds no generated world.

    Raises:
        UserError: The note is there but unreadable.
    """
    path = root / "data" / MINI_WORLD_FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=WorldNote)
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: not a note of this version's generator ({error}); build the world anew.") from error
