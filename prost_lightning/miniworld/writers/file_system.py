"""Writes the file system app."""

from __future__ import annotations

from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.writers.tables import Row, Tables, ago, stamped


def write_file_system(tables: Tables, contents: Contents) -> None:
    """Writes everybody's folders and files."""
    folders: list[Row] = []
    files: list[Row] = []
    for person in contents.supervisors:
        account = contents.of(person).file_system
        paths = ["/", "/home/", person.home, *(f"{person.home}{folder}/" for folder in account.folders)]
        folders += [{**_placed(person, path), **stamped(ago(900))} for path in paths]
        files += [
            {**_placed(person, file.path), "content": file.content, **stamped(file.updated_at)}
            for file in account.files
        ]
    tables.save("Directory", folders)
    tables.save("File", files)


def _placed(person: Person, path: str) -> Row:
    return {"path": path, "tilde_path": path.replace(person.home, "~/"), "user_id": person.id}
