"""The file system app: folders of files, some of them bills with an amount in their text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.dates import moments
from prost_lightning.miniworld.people import Person

BILLS_FOLDER = "bills"
OLD_FOLDER = "documents/old"
_FILES_PER_FOLDER = 9
_BILL_MONTHS = 6


@dataclass(frozen=True)
class File:
    """A text file.

    Attributes:
        path: Absolute path.
        kind: ``plain``, or ``bill`` with the four fields below.
        service: Whose bill, as ``Internet``.
        month: As ``2023-04``.
        amount: Whole dollars.
        paid: Whether the text says so.
    """

    path: str
    content: str
    updated_at: datetime
    kind: str = "plain"
    service: str = ""
    month: str = ""
    amount: int = 0
    paid: bool = True

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class FileAccount:
    """What one person has in the file system: folders below the home directory, and files sorted by path."""

    folders: tuple[str, ...]
    files: tuple[File, ...]

    def inside(self, person: Person, folder: str) -> tuple[File, ...]:
        """The files directly in a folder of the home directory, as the app sorts them."""
        prefix = f"{person.home}{folder}/"
        return tuple(
            file for file in self.files if file.path.startswith(prefix) and "/" not in file.path.removeprefix(prefix)
        )


def make_account(random: Random, person: Person) -> FileAccount:
    """Invents what a person has in the file system."""
    folders = (*words.FOLDERS, OLD_FOLDER, BILLS_FOLDER)
    plain = [
        (f"{person.home}{folder}/{stem}.{random.choice(words.EXTENSIONS)}", f"{stem} of {person.first_name}")
        for folder in folders[:-1]
        for stem in random.sample(words.FILE_WORDS, _FILES_PER_FOLDER)
    ]
    files = [
        File(path, content, updated_at)
        for (path, content), updated_at in zip(plain, moments(random, len(plain)), strict=True)
    ]
    months = [f"2023-{month:02d}" for month in range(1, _BILL_MONTHS)] + ["2022-04", "2022-05"]
    services = random.sample(words.BILLS, 4)
    bills = [(service, month) for service in services for month in months]
    for (service, month), updated_at in zip(bills, moments(random, len(bills)), strict=True):
        amount, paid = random.randint(20, 140), random.random() < 0.6
        content = f"{service} bill\nMonth: {month}\nAmount: ${amount}\nStatus: {'paid' if paid else 'unpaid'}"
        path = f"{person.home}{BILLS_FOLDER}/{service.lower()}_{month}.txt"
        files.append(File(path, content, updated_at, "bill", service, month, amount, paid))
    return FileAccount(folders, tuple(sorted(files, key=lambda file: file.path)))
