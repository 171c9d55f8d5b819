"""The persons of a generated world."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from prost_lightning.miniworld.words import FIRST_NAMES, LAST_NAMES

ACCOUNT_APPS = ("amazon", "file_system", "gmail", "phone", "simple_note", "splitwise", "spotify", "todoist", "venmo")
_PASSWORD_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_PASSWORD_LENGTH = 9


@dataclass(frozen=True)
class Card:
    """A payment card, with the fields that every app's card has."""

    card_name: str
    owner_name: str
    card_number: int
    expiry_year: int
    expiry_month: int
    cvv_number: int


@dataclass(frozen=True)
class Person:
    """Somebody of the world.

    Attributes:
        index: Place in the list of people, from 0; all their database ids are ``index + 1``.
        birthday: As ``1980-02-11``.
        sex: ``female`` or ``male``, as AppWorld knows it.
        passwords: By app.
    """

    index: int
    first_name: str
    last_name: str
    email: str
    phone_number: str
    birthday: str
    sex: str
    passwords: dict[str, str]
    cards: tuple[Card, ...]

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def home(self) -> str:
        """Home directory in the file system app."""
        return f"/home/{self.first_name.lower()}/"


def make_people(random: Random) -> list[Person]:
    """Invents the persons.

    Args:
        random: Source of the choices.

    Returns:
        As many persons as there are first names; no two share a first name, so home directories differ.
    """
    first_names = random.sample(FIRST_NAMES, len(FIRST_NAMES))
    last_names = random.sample(LAST_NAMES, len(FIRST_NAMES))
    phone_numbers = random.sample(range(5_551_000_000, 5_559_999_999), len(FIRST_NAMES))
    return [
        Person(
            index=index,
            first_name=first_name,
            last_name=last_name,
            email=f"{first_name}.{last_name}@gmail.com".lower(),
            phone_number=str(phone_number),
            birthday=f"{random.randint(1965, 2000)}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}",
            sex=random.choice(("female", "male")),
            passwords={app: "".join(random.choices(_PASSWORD_LETTERS, k=_PASSWORD_LENGTH)) for app in ACCOUNT_APPS},
            cards=tuple(_make_card(random, name, f"{first_name} {last_name}") for name in ("Visa", "Chase")),
        )
        for index, (first_name, last_name, phone_number) in enumerate(
            zip(first_names, last_names, phone_numbers, strict=True)
        )
    ]


def _make_card(random: Random, name: str, owner: str) -> Card:
    return Card(
        card_name=name,
        owner_name=owner,
        card_number=random.randint(10**15, 10**16 - 1),
        expiry_year=2027,
        expiry_month=random.randint(1, 12),
        cvv_number=random.randint(100, 999),
    )
