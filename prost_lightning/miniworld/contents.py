"""What is in the apps of a generated world, as plain data.

The scenarios compute their expected results from it, without the engine; :mod:`prost_lightning.miniworld.databases`
writes it into AppWorld's databases; the build then checks on the engine that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from prost_lightning.miniworld.apps import amazon, file_system, gmail, phone, simple_note, splitwise, spotify, todoist
from prost_lightning.miniworld.apps import venmo as venmo_app
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.people import ACCOUNT_APPS, Person, make_people

PAGE_LIMIT = 20
"""Most rows that any AppWorld API returns in one page."""

SUPERVISORS = 15
"""Number of persons whose apps are full, so that tasks can be about them."""


@dataclass(frozen=True)
class Belongings:
    """What one supervisor has in the apps."""

    amazon: amazon.AmazonAccount
    file_system: file_system.FileAccount
    gmail: gmail.GmailAccount
    notes: tuple[simple_note.Note, ...]
    phone: phone.PhoneAccount
    splitwise: splitwise.SplitwiseAccount
    spotify: spotify.SpotifyAccount
    todoist: todoist.TodoistAccount
    venmo: venmo_app.VenmoAccount


@dataclass(frozen=True)
class Contents:
    """Everything in the world.

    Attributes:
        people: All persons.
        catalogue: What Spotify offers to all.
        shop: What Amazon offers to all.
        belongings: By supervisor, in the order of ``people``.
    """

    people: tuple[Person, ...]
    catalogue: spotify.Catalogue
    shop: amazon.Shop
    belongings: tuple[Belongings, ...]

    @property
    def supervisors(self) -> tuple[Person, ...]:
        """The persons that tasks are about."""
        return self.people[: len(self.belongings)]

    @property
    def strangers(self) -> tuple[Person, ...]:
        """The persons that no task is about."""
        return self.people[len(self.belongings) :]

    def of(self, person: Person) -> Belongings:
        """What a supervisor has in the apps."""
        return self.belongings[person.index]


def make_contents(seed: int, supervisors: int = SUPERVISORS) -> Contents:
    """Invents a world.

    Args:
        seed: The same seed gives the same world.
        supervisors: Number of persons whose apps are full.
    """
    people = make_people(Random(f"{seed}/people"))
    # The same outsiders in worlds of any number of supervisors up to the default.
    strangers = people[SUPERVISORS:]
    ids = {app: Ids() for app in ACCOUNT_APPS}
    catalogue = spotify.make_catalogue(Random(f"{seed}/catalogue"), ids["spotify"])
    shop = amazon.make_shop(Random(f"{seed}/shop"), ids["amazon"], strangers)
    belongings = []
    for person in people[:supervisors]:

        def source(app: str, person: Person = person) -> Random:
            return Random(f"{seed}/{app}/{person.index}")

        others = [other for other in people if other is not person]
        contacts = phone.make_account(source("phone"), ids["phone"], person, others, strangers)
        acquaintances = [contact.person for contact in contacts.contacts]
        belongings.append(
            Belongings(
                amazon=amazon.make_account(source("amazon"), ids["amazon"], shop, person),
                file_system=file_system.make_account(source("file_system"), person),
                gmail=gmail.make_account(source("gmail"), ids["gmail"], person, strangers),
                notes=simple_note.make_notes(source("simple_note"), ids["simple_note"], catalogue, acquaintances),
                phone=contacts,
                splitwise=splitwise.make_account(source("splitwise"), ids["splitwise"], person, strangers),
                spotify=spotify.make_account(source("spotify"), ids["spotify"], catalogue, person),
                todoist=todoist.make_account(source("todoist"), ids["todoist"]),
                venmo=venmo_app.make_account(source("venmo"), ids["venmo"], person, strangers),
            )
        )
    return Contents(tuple(people), catalogue, shop, tuple(belongings))
