"""The scenario templates of the generated world."""

from __future__ import annotations

from prost_lightning.miniworld.scenarios import contacts, files, notes, payments, projects, spotify
from prost_lightning.miniworld.scenarios.base import TaskDraft, Template

TEMPLATES: tuple[Template, ...] = (
    *spotify.TEMPLATES,
    *projects.TEMPLATES,
    *payments.TEMPLATES,
    *notes.TEMPLATES,
    *contacts.TEMPLATES,
    *files.TEMPLATES,
)

__all__ = ["TEMPLATES", "TaskDraft", "Template"]
