"""Scenarios about the file system app alone."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.expectations import removed, side
from prost_lightning.miniworld.scenarios.steps import call, login_step, quoted, step, write_each
from prost_lightning.miniworld.script import ScriptStep


def list_files(folder: str, count: int) -> ScriptStep:
    """The sub-task that leaves the paths of the files directly in a folder of the home directory in ``paths``."""
    shown = call(
        "file_system",
        "show_directory",
        directory_path=quoted(f"~/{folder}"),
        entry_type='"files"',
        recursive="False",
    )
    return step(
        "collect",
        "file_system",
        [
            f"List the files directly in ~/{folder}.",
            f"Get the paths of all files in ~/{folder}, not in its subfolders.",
        ],
        f"call show_directory with directory_path ~/{folder}, only files, not recursive, and keep the paths",
        [f"paths = {shown}", f'print(len(paths), "files in ~/{folder}")'],
        f"{count} files in ~/{folder}",
    )


@template(
    2,
    "file_system",
    challenge=True,
    expects=[removed("file_system.File", "path", "user.email"), side("file_system.Directory", "updated_at")],
)
def delete_files(world: Contents, person: Person, random: Random) -> Draft | None:
    """Deletes all files of a kind from a folder."""
    folder, extension = random.choice(words.FOLDERS), random.choice(words.EXTENSIONS)
    files = world.of(person).file_system.inside(person, folder)
    chosen = [file.path for file in files if file.path.endswith(f".{extension}")]
    if not 2 <= len(chosen) <= 5:
        return None
    delete = write_each(
        "file_system",
        "delete_file",
        "paths",
        "path",
        (f'p.endswith(".{extension}")', f"the ending .{extension}"),
        [f"Delete every .{extension} file among the paths.", f"Delete the files that end with .{extension}."],
        f"{len(chosen)} files deleted",
        file_path="path",
    )
    return Draft(
        [
            f"Delete all .{extension} files directly in the ~/{folder} folder of my file system.",
            f"Remove every .{extension} file in ~/{folder} of my file system, but none in its subfolders.",
            f"No .{extension} file should be left directly in ~/{folder} of my file system; delete them.",
        ],
        {"extension": extension, "folder": folder},
        [login_step("file_system"), list_files(folder, len(files)), delete],
        rows={"removed file_system.File": [(path, person.email) for path in chosen]},
    )
