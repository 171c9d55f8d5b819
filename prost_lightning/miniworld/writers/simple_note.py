"""Writes Simple Note."""

from __future__ import annotations

from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.writers.tables import Tables, stamped


def write_simple_note(tables: Tables, contents: Contents) -> None:
    """Writes everybody's notes."""
    tables.save(
        "Note",
        [
            {
                "user_id": person.id,
                "title": note.title,
                "content": note.content,
                "tags": list(note.tags),
                "pinned": note.pinned,
                **stamped(note.updated_at),
            }
            for person in contents.supervisors
            for note in contents.of(person).notes
        ],
    )
