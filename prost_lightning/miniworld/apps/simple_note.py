"""Simple Note: lists, spending logs and check lists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.apps.spotify import Catalogue
from prost_lightning.miniworld.dates import day, moments
from prost_lightning.miniworld.people import Person

_LISTS = 14
_OLD_LISTS = 3
_SPENDING = 4
_CHECK_LISTS = 4
_SONG_LISTS = 2
_GUEST_LISTS = 3
_SPENDING_ROWS = 12


@dataclass(frozen=True)
class Spending:
    """A line of a spending log: ``2023-04-12 | Groceries | 23``."""

    day: str
    what: str
    amount: int

    @property
    def line(self) -> str:
        """As it stands in the note."""
        return f"{self.day} | {self.what} | {self.amount}"


@dataclass(frozen=True)
class CheckItem:
    """A line of a check list: ``[x] buy tape``, or ``[ ] buy tape`` while it is open."""

    what: str
    done: bool

    @property
    def line(self) -> str:
        """As it stands in the note."""
        return f"[{'x' if self.done else ' '}] {self.what}"


@dataclass(frozen=True)
class Note:
    """A note, one item a line.

    Attributes:
        kind: ``list``, ``spending``, ``check``, ``songs`` (titles) or ``guests`` (full names).
        items: The lines.
        spending: The lines of a spending log, taken apart.
        checks: The lines of a check list, taken apart.
    """

    id: int
    title: str
    kind: str
    items: tuple[str, ...]
    tags: tuple[str, ...]
    pinned: bool
    updated_at: datetime
    spending: tuple[Spending, ...] = ()
    checks: tuple[CheckItem, ...] = ()

    @property
    def content(self) -> str:
        """The whole text."""
        return "\n".join(self.items)


def make_notes(random: Random, ids: Ids, catalogue: Catalogue, acquaintances: list[Person]) -> tuple[Note, ...]:
    """Invents a person's notes, the last updated first; some titles differ only in a year.

    Args:
        random: Source of the choices.
        ids: Source of ids.
        catalogue: Songs that a note may name.
        acquaintances: The phone's contacts, whom a guest list may name.
    """
    titles = random.sample(words.NOTE_TITLES, _LISTS + _CHECK_LISTS)
    drafts: list[tuple[str, str]] = [(title, "list") for title in titles[:_LISTS]]
    drafts += [(f"{title} 2022", "list") for title in titles[:_OLD_LISTS]]
    drafts += [(title, "check") for title in titles[_LISTS:]]
    drafts += [(f"{month} Spending", "spending") for month in random.sample(words.MONTHS[:5], _SPENDING)]
    drafts += [(f"Songs for {title}", "songs") for title in random.sample(words.PLAYLISTS, _SONG_LISTS)]
    drafts += [(f"{topic} Guests", "guests") for topic in random.sample(words.EMAIL_TOPICS, _GUEST_LISTS)]
    random.shuffle(drafts)
    return tuple(
        _make_note(random, ids, title, kind, updated_at, catalogue, acquaintances)
        for (title, kind), updated_at in zip(drafts, moments(random, len(drafts)), strict=True)
    )


def _make_note(
    random: Random,
    ids: Ids,
    title: str,
    kind: str,
    updated_at: datetime,
    catalogue: Catalogue,
    acquaintances: list[Person],
) -> Note:
    spending: tuple[Spending, ...] = ()
    checks: tuple[CheckItem, ...] = ()
    if kind == "spending":
        spending = tuple(
            Spending(day(moment), random.choice(words.EXPENSES), random.randint(3, 60))
            for moment in moments(random, _SPENDING_ROWS)
        )
        items: list[str] = [entry.line for entry in spending]
    elif kind == "check":
        checks = tuple(CheckItem(what, random.random() < 0.5) for what in random.sample(words.CHORES, 8))
        items = [entry.line for entry in checks]
    elif kind == "songs":
        items = [song.title for song in random.sample(catalogue.songs, random.randint(3, 6))]
    elif kind == "guests":
        items = [person.name for person in random.sample(acquaintances, random.randint(3, 5))]
    else:
        items = random.sample(words.CHORES, random.randint(3, 6))
    return Note(
        id=ids.next("Note"),
        title=title,
        kind=kind,
        items=tuple(items),
        tags=tuple(random.sample(words.NOTE_TAGS, random.randint(0, 2))),
        pinned=random.random() < 0.1,
        updated_at=updated_at,
        spending=spending,
        checks=checks,
    )
