"""Wrong ways to do a whole task, derived from its script: each must fail the task's evaluator."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.script import Script, ScriptStep

_LOOP = re.compile(r"^for (\w+) in (\w+):", re.MULTILINE)
# What somebody careless might do besides the task, by app; each changes a table and needs only the app's token.
_SIDE_EFFECTS = {
    "amazon": "apis.amazon.write_product_question(product_id=1, question='Is it heavy?', {token})",
    "file_system": "apis.file_system.create_directory(directory_path='~/spare', {token})",
    "gmail": "apis.gmail.create_draft(recipient_email_addresses=[profile['email']], body='Later', {token})",
    "phone": "apis.phone.create_alarm(time='04:44', label='Spare', {token})",
    "simple_note": "apis.simple_note.create_note(title='Diary', content='Done.', {token})",
    "splitwise": "apis.splitwise.create_group(name='Spare', member_emails=[profile['email']], {token})",
    "spotify": "apis.spotify.set_volume(volume=1, {token})",
    "todoist": "apis.todoist.create_label(name='spare', {token})",
    "venmo": "apis.venmo.create_payment_request(user_email={other!r}, amount=1, description='Spare', {token})",
}


def last_write(script: Script) -> int:
    """Index of the last sub-task that changes something, -1 where none does."""
    return max((index for index, step in enumerate(script.steps) if step.kind == "write"), default=-1)


def half_done(step: ScriptStep) -> str:
    """The code of a write that leaves its last item out, or nothing at all where it has but one."""
    loops = list(_LOOP.finditer(step.code))
    if not loops:
        return "pass"
    start, end = loops[-1].span(2)
    return f"{step.code[:start]}{loops[-1].group(2)}[:-1]{step.code[end:]}"


def careless(script: Script, index: int) -> str | None:
    """The code of a sub-task that reads the first page only, or None where it cannot."""
    return next((m.code for m in script.steps[index].mistakes if m.kind == "first_page_only"), None)


def as_somebody_else(script: Script, other: Person) -> list[str]:
    """The codes of the whole solution with another person's credentials in every login."""
    codes = []
    for step in script.steps:
        if step.kind == "login":
            app = step.apps[-1]
            username = other.phone_number if app == "phone" else other.email
            login = f"apis.{app}.login(username={username!r}, password={other.passwords[app]!r})"
            codes.append(f'profile = {{"email": {other.email!r}}}\n{app}_token = {login}["access_token"]')
        else:
            codes.append(step.code)
    return codes


def collateral(apps: Sequence[str], other: Person) -> str:
    """One change besides the task, in an app that the solution has logged in to."""
    app = apps[-1]
    return _SIDE_EFFECTS[app].format(token=f"access_token={app}_token", other=other.email)
