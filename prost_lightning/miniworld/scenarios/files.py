"""Scenarios about the file system app."""

from __future__ import annotations

from random import Random
from textwrap import dedent

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import TaskDraft, Template, login_step, without_token
from prost_lightning.miniworld.script import Mistake, ScriptStep


def _draft_delete_files(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    folder, other_folder = random.sample(words.FOLDERS, 2)
    extension = random.choice(words.EXTENSIONS)
    files = [path for path in contents.of(person).files if path.startswith(f"{person.home}{folder}/")]
    chosen = [path for path in files if path.endswith(f".{extension}")]
    if not 2 <= len(chosen) <= 5:
        return None

    def show(folder: str) -> str:
        return (
            f'paths = apis.file_system.show_directory(directory_path="~/{folder}", access_token=file_system_token)\n'
            f'print(len(paths), "files in ~/{folder}")'
        )

    delete_code = (
        f'matches = [p for p in paths if p.endswith(".{extension}")]\n'
        "for path in matches:\n"
        "    apis.file_system.delete_file(file_path=path, access_token=file_system_token)\n"
        'print(len(matches), "files deleted")'
    )
    wording = random.choice(
        (
            f"Delete all .{extension} files from the ~/{folder} folder of my file system.",
            f"Remove every .{extension} file in ~/{folder} of my file system.",
        )
    )
    collect = ScriptStep(
        kind="collect",
        apps=["file_system"],
        goals=[f"List the files in ~/{folder}.", f"Get the paths of all files in ~/{folder}."],
        plans=[
            f"Call show_directory with directory_path ~/{folder} and keep the paths.",
            f"Use show_directory on ~/{folder}; store its list in paths.",
        ],
        lookups=[("file_system", "show_directory")],
        code=show(folder),
        result=f"{len(files)} files in ~/{folder}",
        mistakes=[
            Mistake("wrong_argument", show(other_folder), f"It lists ~/{other_folder}, not ~/{folder}."),
            Mistake(
                "missing_login",
                without_token(show(folder), "file_system"),
                "show_directory needs access_token=file_system_token.",
            ),
        ],
    )
    delete = ScriptStep(
        kind="write",
        apps=["file_system"],
        goals=[f"Delete every .{extension} file among the paths.", f"Delete the files that end with .{extension}."],
        plans=[
            f"Keep the paths that end with .{extension}, call delete_file for each.",
            f"Filter paths by .{extension}; delete_file with file_system_token for each.",
        ],
        lookups=[("file_system", "delete_file")],
        code=delete_code,
        result=f"{len(chosen)} files deleted",
        mistakes=[
            Mistake(
                "missing_login",
                without_token(delete_code, "file_system"),
                "delete_file needs access_token=file_system_token.",
            ),
            Mistake(
                "wrong_api",
                delete_code.replace("delete_file(", "remove_file("),
                "file_system has no API remove_file; use delete_file.",
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"extension": extension, "folder": folder},
        private={"paths": sorted(chosen), "folder": f"{person.home}{folder}/"},
        answer=None,
        steps=[login_step("file_system"), collect, delete],
    )


TEMPLATES = (
    Template(
        name="delete_files",
        difficulty=2,
        apps=("file_system",),
        draft=_draft_delete_files,
        changes=("file_system.File", "file_system.Directory"),
        checks=dedent(
            """
            added, updated, removed = models.changed_records("file_system.File")
            with test("exactly the right files of the supervisor are gone"):
                test.case(sorted(file.path for file in removed), "==", list(private_data.paths))
                test.case(len(added) + len(updated), "==", 0)
            added, updated, removed = models.changed_records("file_system.Directory")
            with test("of the folders only the time of the last update changed, and only where files were deleted"):
                test.case(len(added) + len(removed), "==", 0)
                test.case([private_data.folder.startswith(directory.path) for directory in updated], "all ==", True)
                for directory in updated:
                    changed = models.changed_field_names("file_system.Directory", directory.id)
                    test.case(changed, "==", {"updated_at"})
            """
        ),
        challenge=True,
    ),
)
