"""Makes AppWorld's databases and API documents. Imports ``appworld``: for the build's subprocess only."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from appworld.apps import get_all_apps
from appworld.collections.api_docs import ApiDocCollection
from appworld.collections.models import ModelCollection
from appworld.common.constants import CANARY_STRING

from prost_lightning.cache import kept_json
from prost_lightning.miniworld.apps.venmo import START_BALANCE
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import ACCOUNT_APPS, Person
from prost_lightning.miniworld.snapshots import Snapshot
from prost_lightning.miniworld.words import FIRST_NAMES
from prost_lightning.miniworld.writers.amazon import write_amazon
from prost_lightning.miniworld.writers.file_system import write_file_system
from prost_lightning.miniworld.writers.gmail import write_gmail
from prost_lightning.miniworld.writers.phone import write_phone
from prost_lightning.miniworld.writers.simple_note import write_simple_note
from prost_lightning.miniworld.writers.splitwise import write_splitwise
from prost_lightning.miniworld.writers.spotify import write_spotify
from prost_lightning.miniworld.writers.tables import Row, Tables, ago
from prost_lightning.miniworld.writers.todoist import write_todoist
from prost_lightning.miniworld.writers.venmo import write_venmo

_MEMORY = ":memory:mini-world"
_APP_OF_THE_TASK = "supervisor"
_WRITERS = {
    "amazon": write_amazon,
    "file_system": write_file_system,
    "gmail": write_gmail,
    "phone": write_phone,
    "simple_note": write_simple_note,
    "splitwise": write_splitwise,
    "spotify": write_spotify,
    "todoist": write_todoist,
    "venmo": write_venmo,
}


def all_apps() -> list[str]:
    """Every AppWorld app, the hidden ``admin`` included."""
    return list(get_all_apps())


def build_api_docs(directory: Path) -> list[Row]:
    """Writes the API documents that episodes read, derived from the apps' own code.

    Deriving them takes many seconds, so they are kept in the cache, by AppWorld's version.

    Args:
        directory: Where ``<app>.json`` files go.

    Returns:
        The documents as plain data, for the ``api_docs`` app's table.
    """
    collection: dict[str, dict[str, Row]] = kept_json(
        f"appworld-api-docs/{version('appworld')}.json",
        lambda: ApiDocCollection.build(load_apps=tuple(get_all_apps(skip_admin=True))),
    )
    directory.mkdir(parents=True)
    rows: list[Row] = []
    for app, documents in collection.items():
        rows.extend(dict(document) for document in documents.values())
        for document in documents.values():
            document["canary_string"] = CANARY_STRING
        (directory / f"{app}.json").write_text(json.dumps(documents))
    return rows


def build_databases(contents: Contents, api_docs: list[Row], directory: Path) -> None:
    """Creates all rows through the apps' own models and saves one database an app.

    Args:
        contents: What the world holds.
        api_docs: From :func:`build_api_docs`.
        directory: Where ``<app>.db`` files go.
    """
    models = ModelCollection.load(
        to_db_home_path=_MEMORY, from_db_home_path=_MEMORY, load_apps=all_apps(), create_db=True
    )
    documents = [{"app_name_": document.pop("app_name"), **document} for document in api_docs]
    Tables(models.api_docs).save("ApiDoc", documents)
    _write_admin(Tables(models.admin), contents)
    for app in ACCOUNT_APPS:
        tables = Tables(models[app])
        tables.save("User", [_account(app, person) for person in contents.people])
        _WRITERS[app](tables, contents)
    models.save(str(directory), format="full", app_names=all_apps(), delete_if_exists=True)
    models.close()


class TaskDatabases:
    """Writes what each task adds to the base databases: the supervisor's rows, and nothing in the other apps."""

    def __init__(self) -> None:
        home = f"{_MEMORY}-task"
        self._models = ModelCollection.load(
            to_db_home_path=home,
            from_db_home_path=home,
            load_apps=[_APP_OF_THE_TASK],
            skip_mandatory_apps=True,
            create_db=True,
        )
        # The tables themselves are in the base databases.
        self._models.restart_db_tracker()
        self._empty = Snapshot(self._models)
        self._person: Person | None = None
        self._of_person = self._empty

    def write(self, directory: Path, person: Person, instruction: str) -> None:
        """Writes one task's change logs.

        Args:
            directory: Where they go, one file an app.
            person: The supervisor; fastest where it is the same as before.
            instruction: The task's text.
        """
        if person != self._person:
            self._empty.restore()
            self._add_person(person)
            self._person, self._of_person = person, Snapshot(self._models)
        # The person's rows come first, and so have the id 1.
        self._models.supervisor.Task.create_save(supervisor_id=1, instruction=instruction)
        self._models.save(str(directory), format="changes", app_names=[_APP_OF_THE_TASK], skip_mandatory_apps=True)
        for app in all_apps():
            (directory / f"{app}.jsonl").touch()
        self._of_person.restore()

    def close(self) -> None:
        """Frees the databases."""
        self._models.close()

    def _add_person(self, person: Person) -> None:
        supervisor = self._models.supervisor
        row = supervisor.Supervisor.create_save(**_identity(person), birthday=person.birthday, sex=person.sex)
        for card in person.cards:
            supervisor.PaymentCard.create_save(supervisor_id=row.id, **asdict(card))
        for app, password in person.passwords.items():
            supervisor.AccountPassword.create_save(supervisor_id=row.id, account_name=app, password=password)
        for address in person.addresses:
            supervisor.Address.create_save(supervisor_id=row.id, **asdict(address))


def _identity(person: Person) -> Row:
    return {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "phone_number": person.phone_number,
    }


def _account(app: str, person: Person) -> Row:
    row: dict[str, Any] = {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "password": person.passwords[app],
        "created_at": ago(1_000 + person.index),
        "last_logged_in": ago(5, person.index),
    }
    if app == "phone":
        return {**row, "phone_number": person.phone_number}
    row["email"] = person.email
    if app != "gmail":
        row["verified"] = True
    if app == "venmo":
        row["venmo_balance"] = START_BALANCE
    return row


def _write_admin(tables: Tables, contents: Contents) -> None:
    # AppWorld's own users have different first names; it need not know the others.
    people = contents.people[: len(FIRST_NAMES)]
    tables.save("MainUser", [{**_identity(p), "birthday": p.birthday, "sex": p.sex} for p in people])
    tables.save(
        "AccountPassword",
        [
            {"main_user_id": person.id, "account_name": app, "password": password}
            for person in people
            for app, password in person.passwords.items()
        ],
    )
    tables.save(
        "PaymentCard",
        [
            {"main_user_id": person.id, "balance": START_BALANCE, **asdict(card)}
            for person in people
            for card in person.cards
        ],
    )
    tables.save("Residence", [{"resident_ids": [person.id], "residence_type": "single"} for person in people])
    addresses = [asdict(person.addresses[0]) for person in people]
    for address in addresses:
        address.pop("name")
    tables.save("GlobalAddress", [{"residence_id": n, **address} for n, address in enumerate(addresses, start=1)])
