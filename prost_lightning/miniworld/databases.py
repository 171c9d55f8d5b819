"""Writes a world's contents into AppWorld's databases. Imports ``appworld``: for the build's subprocess only."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from appworld.apps import get_all_apps
from appworld.collections.api_docs import ApiDocCollection
from appworld.collections.models import ModelCollection
from appworld.common.constants import CANARY_STRING
from appworld.common.datetime import DateTime

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import ACCOUNT_APPS, Person

NOW = DateTime(2023, 5, 18, 12, 0, 0)
"""The moment at which all tasks play."""

ADDRESS = {
    "street_address": "12 Elm Street",
    "city": "Seattle",
    "state": "Washington",
    "country": "United States",
    "zip_code": 98101,
}
_MEMORY = ":memory:mini-world"
_VENMO_BALANCE = 5_000.0
_SHARED_ACCOUNT_APPS = ("gmail", "phone", "venmo")


def all_apps() -> list[str]:
    """Every AppWorld app, the hidden ``admin`` included."""
    return list(get_all_apps())


def build_api_docs(directory: Path) -> list[dict[str, Any]]:
    """Writes the API documents that episodes read, derived from the apps' own code.

    Args:
        directory: Where ``<app>.json`` files go.

    Returns:
        The documents as plain data, for the ``api_docs`` app's table.
    """
    directory.mkdir(parents=True)
    collection = ApiDocCollection.build(load_apps=tuple(get_all_apps(skip_admin=True)))
    rows: list[dict[str, Any]] = []
    for app, documents in collection.items():
        plain = json.loads(json.dumps(documents))
        rows.extend(dict(document) for document in plain.values())
        for document in plain.values():
            document["canary_string"] = CANARY_STRING
        (directory / f"{app}.json").write_text(json.dumps(plain))
    return rows


def build_databases(contents: Contents, api_docs: list[dict[str, Any]], random: Random, directory: Path) -> None:
    """Creates all rows through the apps' own models and saves one database an app.

    Args:
        contents: What the world holds.
        api_docs: From :func:`build_api_docs`.
        random: Source of dates.
        directory: Where ``<app>.db`` files go.
    """
    models = ModelCollection.load(
        to_db_home_path=_MEMORY, from_db_home_path=_MEMORY, load_apps=all_apps(), create_db=True
    )
    _Writer(models, contents, random).write(api_docs)
    models.save(str(directory), format="full", app_names=all_apps(), delete_if_exists=True)
    models.close()


def write_task_database(base: Path, directory: Path, person: Person, instruction: str) -> None:
    """Writes what a task adds to the base databases: the supervisor's rows.

    Args:
        base: The base databases.
        directory: Where the change logs go, one file an app.
        person: The supervisor.
        instruction: The task's text.
    """
    models = ModelCollection.load(from_db_home_path=str(base), to_db_home_path=f"{_MEMORY}-task", load_apps=all_apps())
    supervisor = models.supervisor
    identity = _identity(person)
    row = supervisor.Supervisor.create_save(**identity, birthday=person.birthday, sex=person.sex)
    for card in person.cards:
        supervisor.PaymentCard.create_save(supervisor_id=row.id, **asdict(card))
    for app, password in person.passwords.items():
        supervisor.AccountPassword.create_save(supervisor_id=row.id, account_name=app, password=password)
    supervisor.Address.create_save(supervisor_id=row.id, name="Home", **ADDRESS)
    supervisor.Task.create_save(supervisor_id=row.id, instruction=instruction)
    models.save(str(directory), format="changes", app_names=all_apps(), delete_if_exists=True)
    models.close()


def _identity(person: Person) -> dict[str, str]:
    return {
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "phone_number": person.phone_number,
    }


class _Writer:
    """Fills the tables app by app; ids follow the order of the contents, so they never need a look-up."""

    def __init__(self, models: Any, contents: Contents, random: Random) -> None:
        self.models = models
        self.contents = contents
        self.random = random

    def write(self, api_docs: list[dict[str, Any]]) -> None:
        self._save("api_docs", "ApiDoc", [{"app_name_": doc.pop("app_name"), **doc} for doc in api_docs])
        self._write_people()
        self._write_spotify()
        self._write_phone()
        self._write_venmo()
        self._write_notes_and_projects()
        self._write_files()

    def _save(self, app: str, model: str, rows: list[dict[str, Any]]) -> None:
        """Creates rows of one table in one commit; their ids are 1, 2, ... in an empty table."""
        table = getattr(self.models[app], model)
        table.save_all([table.create(**row) for row in rows])

    def _ago(self, days: int) -> Any:
        return NOW.subtract(days=days, minutes=self.random.randint(0, 1_000))

    def _write_people(self) -> None:
        people = self.contents.people
        self._save("admin", "MainUser", [{**_identity(p), "birthday": p.birthday, "sex": p.sex} for p in people])
        self._save(
            "admin",
            "AccountPassword",
            [
                {"main_user_id": person.index + 1, "account_name": app, "password": password}
                for person in people
                for app, password in person.passwords.items()
            ],
        )
        self._save(
            "admin",
            "PaymentCard",
            [
                {"main_user_id": person.index + 1, "balance": _VENMO_BALANCE, **asdict(card)}
                for person in people
                for card in person.cards
            ],
        )
        residents = [person.index + 1 for person in people[:3]]
        self._save("admin", "Residence", [{"resident_ids": residents, "residence_type": "roommates"}])
        self._save("admin", "GlobalAddress", [{"residence_id": 1, **ADDRESS}])
        for app in ACCOUNT_APPS:
            holders = people if app in _SHARED_ACCOUNT_APPS else self.contents.supervisors
            self._save(app, "User", [self._account(app, person) for person in holders])

    def _account(self, app: str, person: Person) -> dict[str, Any]:
        row: dict[str, Any] = {
            "first_name": person.first_name,
            "last_name": person.last_name,
            "password": person.passwords[app],
            "created_at": self._ago(300),
            "last_logged_in": self._ago(5),
        }
        if app == "phone":
            return {**row, "phone_number": person.phone_number}
        row["email"] = person.email
        if app != "gmail":
            row["verified"] = True
        if app == "venmo":
            row["venmo_balance"] = _VENMO_BALANCE
        return row

    def _write_spotify(self) -> None:
        songs = self.contents.songs
        artist_ids = {artist: number for number, artist in enumerate(words.ARTISTS, start=1)}
        song_ids = {song.title: number for number, song in enumerate(songs, start=1)}
        genres = {song.artist: song.genre for song in songs}
        self._save("spotify", "Artist", [{"name": artist, "genre": genres[artist]} for artist in words.ARTISTS])
        self._save(
            "spotify",
            "Song",
            [
                {
                    "title": song.title,
                    "artist_ids": [artist_ids[song.artist]],
                    "genre": song.genre,
                    "duration": song.duration,
                    "play_count": song.play_count,
                    "release_date": DateTime(song.year, self.random.randint(1, 12), self.random.randint(1, 28)),
                }
                for song in songs
            ],
        )
        supervisors = self.contents.supervisors
        self._save(
            "spotify",
            "UserLibrarySong",
            [
                {"user_id": p.index + 1, "song_id": song_ids[song.title], "created_at": self._ago(100 - place)}
                for p in supervisors
                for place, song in enumerate(self.contents.of(p).library)
            ],
        )
        self._save("spotify", "MusicPlayer", [{"user_id": person.index + 1} for person in supervisors])

    def _write_phone(self) -> None:
        self._save(
            "phone",
            "Contact",
            [
                {
                    **_identity(contact.person),
                    "user_id": person.index + 1,
                    "relationships": [contact.relationship],
                    "created_at": self._ago(10 + place),  # the phone lists the newest first
                }
                for person in self.contents.supervisors
                for place, contact in enumerate(self.contents.of(person).contacts)
            ],
        )

    def _write_venmo(self) -> None:
        for person in self.contents.people:
            cards = [{"user_id": person.index + 1, **asdict(card)} for card in person.cards]
            self._save("venmo", "PaymentCard", cards)
        rows = []
        for payment in self.contents.payments:
            moment = self._ago(payment.days_ago)
            rows.append(
                {
                    "sender_id": payment.sender.index + 1,
                    "receiver_id": payment.receiver.index + 1,
                    "amount": float(payment.amount),
                    "description": payment.description,
                    "created_at": moment,
                    "updated_at": moment,
                }
            )
        self._save("venmo", "Transaction", rows)

    def _write_notes_and_projects(self) -> None:
        notes: list[dict[str, Any]] = []
        projects: list[dict[str, Any]] = []
        tasks: list[dict[str, Any]] = []
        for person in self.contents.supervisors:
            user_id = person.index + 1
            mine = self.contents.of(person)
            for note in mine.notes:
                moment = self._ago(20)
                content = "\n".join(note.items)
                notes.append(
                    {
                        "user_id": user_id,
                        "title": note.title,
                        "content": content,
                        "created_at": moment,
                        "updated_at": moment,
                    }
                )
            projects.append({"user_id": user_id, "name": "Inbox", "is_inbox": True, "created_at": self._ago(300)})
            for project in mine.projects:
                projects.append({"user_id": user_id, "name": project.name, "created_at": self._ago(60)})
                tasks.extend(
                    {
                        "project_id": len(projects),
                        "user_id": user_id,
                        "title": task.title,
                        "priority": task.priority,
                        "order_index": place,
                        "created_at": self._ago(30),
                    }
                    for place, task in enumerate(project.tasks)
                )
        self._save("simple_note", "Note", notes)
        self._save("todoist", "Project", projects)
        links = [{"project_id": number, "user_id": row["user_id"]} for number, row in enumerate(projects, start=1)]
        self._save("todoist", "ProjectCollaboratorLink", links)
        self._save("todoist", "Task", tasks)

    def _write_files(self) -> None:
        for person in self.contents.supervisors:
            owner = {"user_id": person.index + 1, "created_at": self._ago(90), "updated_at": self._ago(80)}
            directories = ["/", "/home/", person.home, *(f"{person.home}{folder}/" for folder in words.FOLDERS)]
            self._save("file_system", "Directory", [{"path": path, **owner} for path in directories])
            files = self.contents.of(person).files
            self._save("file_system", "File", [{"path": path, "content": f"About {path}.", **owner} for path in files])
