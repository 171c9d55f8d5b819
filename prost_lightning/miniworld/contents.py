"""What is in the apps of a generated world, as plain data.

The scenarios compute their expected results from it, without the engine; :mod:`prost_lightning.miniworld.databases`
writes it into AppWorld's databases; the build then checks on the engine that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.people import Person, make_people

PAGE_LIMIT = 20
"""Most rows that any AppWorld API returns in one page."""

SUPERVISORS = 9
"""Number of persons whose apps are full, so that tasks can be about them."""

# Each above one page, so that reading only the first page gives a wrong result.
_LIBRARY_SONGS = 56
_CONTACTS = 26
_PAYMENTS_SENT = 26
_PAYMENT_PARTNERS = 6
_NOTES = 5
_PROJECTS = 4
_TASKS_PER_PROJECT = 9
_FILES_PER_FOLDER = 8
_DAYS = 200


@dataclass(frozen=True)
class Song:
    """A song of Spotify's catalogue; ``duration`` is in seconds."""

    title: str
    artist: str
    genre: str
    duration: int
    play_count: int
    year: int


@dataclass(frozen=True)
class Contact:
    """An entry of somebody's phone book."""

    person: Person
    relationship: str


@dataclass(frozen=True)
class Payment:
    """A Venmo transaction; ``amount`` is in whole dollars."""

    sender: Person
    receiver: Person
    amount: int
    description: str
    days_ago: int


@dataclass(frozen=True)
class Note:
    """A note of Simple Note, one item a line."""

    title: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class ProjectTask:
    """A task of a Todoist project."""

    title: str
    priority: str


@dataclass(frozen=True)
class Project:
    """A Todoist project."""

    name: str
    tasks: tuple[ProjectTask, ...]


@dataclass(frozen=True)
class Belongings:
    """What one supervisor has in the apps.

    Attributes:
        library: Songs of the Spotify library.
        contacts: The phone book.
        notes: Notes of Simple Note.
        projects: Todoist projects, without the inbox.
        files: Absolute paths of files in the file system app.
    """

    library: tuple[Song, ...]
    contacts: tuple[Contact, ...]
    notes: tuple[Note, ...]
    projects: tuple[Project, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """Everything in the world.

    Attributes:
        people: All persons.
        songs: Spotify's catalogue.
        payments: All Venmo transactions.
        belongings: By supervisor, in the order of ``people``.
    """

    people: tuple[Person, ...]
    songs: tuple[Song, ...]
    payments: tuple[Payment, ...]
    belongings: tuple[Belongings, ...]

    @property
    def supervisors(self) -> tuple[Person, ...]:
        """The persons that tasks are about."""
        return self.people[: len(self.belongings)]

    def of(self, person: Person) -> Belongings:
        """What a supervisor has in the apps."""
        return self.belongings[person.index]


def make_contents(seed: int) -> Contents:
    """Invents a world.

    Args:
        seed: The same seed gives the same world.
    """
    random = Random(f"{seed}/contents")
    people = make_people(random)
    songs = _make_songs(random)
    payments: list[Payment] = []
    belongings: list[Belongings] = []
    for person in people[:SUPERVISORS]:
        others = random.sample([other for other in people if other is not person], _CONTACTS)
        contacts = tuple(Contact(other, random.choice(words.RELATIONSHIPS)) for other in others)
        partners = random.sample([contact.person for contact in contacts], _PAYMENT_PARTNERS)
        for _ in range(_PAYMENTS_SENT):
            payments.append(_make_payment(random, person, random.choice(partners)))
            payments.append(_make_payment(random, random.choice(partners), person))
        belongings.append(
            Belongings(
                library=tuple(random.sample(songs, _LIBRARY_SONGS)),
                contacts=contacts,
                notes=tuple(
                    Note(title, tuple(random.sample(words.CHORES, random.randint(3, 6))))
                    for title in random.sample(words.NOTE_TITLES, _NOTES)
                ),
                projects=tuple(_make_project(random, name) for name in random.sample(words.PROJECTS, _PROJECTS)),
                files=tuple(
                    f"{person.home}{folder}/{stem}.{random.choice(words.EXTENSIONS)}"
                    for folder in words.FOLDERS
                    for stem in random.sample(words.FILE_WORDS, _FILES_PER_FOLDER)
                ),
            )
        )
    return Contents(tuple(people), tuple(songs), tuple(payments), tuple(belongings))


def _make_songs(random: Random) -> list[Song]:
    titles = [f"{first} {second}" for first in words.TITLE_FIRST for second in words.TITLE_SECOND]
    random.shuffle(titles)
    return [
        Song(
            title=title,
            artist=words.ARTISTS[index % len(words.ARTISTS)],
            genre=words.GENRES[index % len(words.GENRES)],
            duration=random.randint(120, 600),
            play_count=random.randint(100, 9_999),
            year=random.randint(2015, 2022),
        )
        for index, title in enumerate(titles)
    ]


def _make_payment(random: Random, sender: Person, receiver: Person) -> Payment:
    return Payment(sender, receiver, random.randint(5, 80), random.choice(words.PAYMENTS), random.randint(1, _DAYS))


def _make_project(random: Random, name: str) -> Project:
    titles = random.sample(words.CHORES, _TASKS_PER_PROJECT)
    return Project(name, tuple(ProjectTask(title, random.choice(words.PRIORITIES)) for title in titles))
