"""Todoist: projects with sections, tasks, sub-tasks and labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.dates import NOW

_PROJECTS = 4
_TASKS_PER_PROJECT = 12
_SECTIONS = 2
_SUB_TASKS = 3


@dataclass(frozen=True)
class SubTask:
    """A part of a task."""

    id: int
    title: str
    done: bool


@dataclass(frozen=True)
class ProjectTask:
    """A task of a Todoist project; ``priority`` is ``high``, ``medium`` or ``low``, ``section`` a name or None."""

    id: int
    title: str
    priority: str
    done: bool
    due: date | None
    section: str | None
    labels: tuple[str, ...]
    sub_tasks: tuple[SubTask, ...]


@dataclass(frozen=True)
class Project:
    """A Todoist project; its tasks are in the order of the app's list: those without a section first."""

    id: int
    name: str
    sections: tuple[tuple[int, str], ...]
    tasks: tuple[ProjectTask, ...]
    favorite: bool


@dataclass(frozen=True)
class TodoistAccount:
    """What one person has in Todoist, without the empty inbox; ``labels`` are (id, name)."""

    inbox_id: int
    projects: tuple[Project, ...]
    labels: tuple[tuple[int, str], ...]


def make_account(random: Random, ids: Ids) -> TodoistAccount:
    """Invents what a person has in Todoist; one project's name begins like another's."""
    inbox_id = ids.next("Project")
    labels = tuple((ids.next("Label"), name) for name in words.LABELS)
    names = random.sample(words.PROJECTS, _PROJECTS)
    names.append(f"{names[0]} 2022")
    return TodoistAccount(inbox_id, tuple(_make_project(random, ids, name) for name in names), labels)


def _make_project(random: Random, ids: Ids, name: str) -> Project:
    project_id = ids.next("Project")
    sections = tuple((ids.next("Section"), section) for section in random.sample(words.SECTIONS, _SECTIONS))
    places: list[str | None] = [None, *(section for _, section in sections)]
    chosen = sorted(random.choices(places, k=_TASKS_PER_PROJECT), key=places.index)
    return Project(
        id=project_id,
        name=name,
        sections=sections,
        tasks=tuple(
            _make_task(random, ids, title, section)
            for title, section in zip(random.sample(words.CHORES, _TASKS_PER_PROJECT), chosen, strict=True)
        ),
        favorite=random.random() < 0.3,
    )


def _make_task(random: Random, ids: Ids, title: str, section: str | None) -> ProjectTask:
    task_id = ids.next("Task")
    due = (NOW + timedelta(days=random.randint(-30, 30))).date()
    return ProjectTask(
        id=task_id,
        title=title,
        priority=random.choice(words.PRIORITIES),
        done=random.random() < 0.25,
        due=None if random.random() < 0.2 else due.replace(year=2022) if random.random() < 0.15 else due,
        section=section,
        labels=tuple(random.sample(words.LABELS, random.randint(0, 2))),
        sub_tasks=tuple(
            SubTask(ids.next("SubTask"), what, random.random() < 0.4)
            for what in (random.sample(words.CHORES, _SUB_TASKS) if random.random() < 0.25 else ())
        ),
    )
