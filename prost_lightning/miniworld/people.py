"""The persons of a generated world."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from prost_lightning.miniworld.words import FIRST_NAMES, LAST_NAMES, STREETS

ACCOUNT_APPS = ("amazon", "file_system", "gmail", "phone", "simple_note", "splitwise", "spotify", "todoist", "venmo")
PEOPLE = 40
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

    @property
    def digits(self) -> str:
        """The last four digits."""
        return str(self.card_number)[-4:]


@dataclass(frozen=True)
class Address:
    """Where somebody lives or works; ``name`` is ``Home`` or ``Work``."""

    name: str
    street_address: str
    city: str
    state: str
    country: str
    zip_code: int

    @property
    def text(self) -> str:
        """On one line."""
        return f"{self.street_address}, {self.city}, {self.state}, {self.country} - {self.zip_code}"


@dataclass(frozen=True)
class Person:
    """Somebody of the world, with an account in every app.

    Attributes:
        index: Place in the list of people, from 0.
        birthday: As ``1980-02-11``.
        sex: ``female`` or ``male``, as AppWorld knows it.
        passwords: By app.
        cards: Payment cards, the same in every app.
        addresses: Home and work.
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
    addresses: tuple[Address, ...]

    def __hash__(self) -> int:
        return self.index

    @property
    def id(self) -> int:
        """Database id in every app."""
        return self.index + 1

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def home(self) -> str:
        """Home directory in the file system app; paths are apart for each account, so that namesakes may share it."""
        return f"/home/{self.first_name.lower()}/"


def make_people(random: Random) -> list[Person]:
    """Invents the persons.

    The first ones, as many as there are first names, all have different first names, as AppWorld demands of those whom
    it knows as users of several apps; the others are their namesakes. No two share both names.

    Args:
        random: Source of the choices.
    """
    first_names = random.sample(FIRST_NAMES, len(FIRST_NAMES))
    first_names += random.sample(FIRST_NAMES, PEOPLE - len(FIRST_NAMES))
    last_names = random.sample(LAST_NAMES, len(LAST_NAMES))
    last_names += last_names[: PEOPLE - len(LAST_NAMES)]
    phone_numbers = random.sample(range(5_551_000_000, 5_559_999_999), PEOPLE)
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
            addresses=tuple(_make_address(random, name) for name in ("Home", "Work")),
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


def _make_address(random: Random, name: str) -> Address:
    return Address(
        name=name,
        street_address=f"{random.randint(1, 250)} {random.choice(STREETS)}",
        city="Seattle",
        state="Washington",
        country="United States",
        zip_code=random.randint(98_101, 98_199),
    )
