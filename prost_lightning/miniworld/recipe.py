"""What a world is asked to be, and the note that a finished world carries about itself."""

from __future__ import annotations

from pathlib import Path

import msgspec

from prost_lightning.errors import UserError

MINI_WORLD_FILE = "MINI_WORLD.json"
TASKS_PER_SCENARIO = 3


class WorldSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Number of scenarios a template has in each split; a scenario is three tasks.

    Attributes:
        train: Scenarios of each known template to train on.
        dev: New scenarios of the known templates, to watch while training.
        test_normal: New scenarios of the known templates, to report.
        test_challenge: Scenarios of each template that occurs in no other split.
    """

    train: int = 2
    dev: int = 1
    test_normal: int = 1
    test_challenge: int = 1

    def __post_init__(self) -> None:
        for split in self.__struct_fields__:
            # AppWorld's metrics divide by the tasks of each difficulty, so a split must not be empty.
            if getattr(self, split) < 1:
                raise UserError(
                    f"size.{split} is {getattr(self, split)}; a world needs at least 1 scenario a template."
                )


class WorldNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of ``data/MINI_WORLD.json``: this is a generated world, and which.

    Attributes:
        kind: Always ``mini-world``.
        generator: Fingerprint of the generator's source, see :mod:`prost_lightning.miniworld.fingerprint`.
        appworld: Version of the ``appworld`` package.
        seed: Seed of the world.
        size: Scenarios a template.
        content: Fingerprint of all other files of the world.
        templates: Task ids by template.
    """

    kind: str = "mini-world"
    generator: str
    appworld: str
    seed: int
    size: WorldSize
    content: str
    templates: dict[str, list[str]]


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
