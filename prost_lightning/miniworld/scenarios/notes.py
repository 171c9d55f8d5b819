"""Scenarios that start from a note in Simple Note."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.simple_note import Note
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.expectations import added, side
from prost_lightning.miniworld.scenarios.steps import call, find, for_each, login_step, quoted, step
from prost_lightning.miniworld.scenarios.todoist import find_project
from prost_lightning.miniworld.script import ScriptStep

EMAIL_SENT = (
    added("gmail.Email", "sender.email", "recipient_email_addresses", "subject", "body"),
    side("gmail.GlobalEmailThread", grows=True),
    side("gmail.UserEmailThread", grows=True),
)
"""What sending an email changes."""


def read_note(note: Note) -> ScriptStep:
    """The sub-task that leaves a note in ``note`` and its lines in ``items``."""
    return step(
        "read",
        "simple_note",
        [
            f"Read the note '{note.title}' in Simple Note.",
            f"Get the items of the Simple Note note '{note.title}'.",
        ],
        f"find '{note.title}' by its exact title, read it with show_note, keep its lines in items",
        [
            *find("simple_note", "search_notes", "notes", "note", "title", note.title),
            "note = " + call("simple_note", "show_note", note_id='note["note_id"]'),
            'items = note["content"].splitlines()',
            'print(note["title"], "has", len(items), "items")',
        ],
        f"{note.title} has {len(note.items)} items",
    )


@template(
    3,
    "simple_note",
    "todoist",
    expects=[added("todoist.Task", "title", "project.name", "project.user.email", "priority", "is_completed")],
)
def note_to_project(world: Contents, person: Person, random: Random) -> Draft | None:
    """Turns a note's items into tasks."""
    note = random.choice([note for note in world.of(person).notes if note.kind == "list"])
    project, priority = random.choice(world.of(person).todoist.projects), random.choice(words.PRIORITIES)
    create = call(
        "todoist",
        "create_task",
        project_id='project["project_id"]',
        title="item",
        priority=quoted(priority),
    )
    add = step(
        "write",
        "todoist",
        [
            f"Add the items to the Todoist project '{project.name}' with {priority} priority.",
            f"Create a {priority} priority task in '{project.name}' for each item.",
        ],
        f"find the project '{project.name}', call create_task for each item with priority {priority}",
        [*find_project(project), *for_each("items", "item", create), 'print(len(items), "tasks added")'],
        f"{len(note.items)} tasks added",
    )
    return Draft(
        [
            f"Add each item of my Simple Note note '{note.title}' to my Todoist project '{project.name}' "
            f"with {priority} priority.",
            f"Turn the items of '{note.title}' in Simple Note into {priority} priority tasks of my Todoist "
            f"project '{project.name}'.",
            f"Every line of the Simple Note note '{note.title}' should become a task in my Todoist project "
            f"'{project.name}', all with {priority} priority.",
        ],
        {"note": note.title, "project": project.name, "priority": priority},
        [login_step("simple_note"), read_note(note), login_step("todoist"), add],
        rows={"added todoist.Task": [(item, project.name, person.email, priority, False) for item in note.items]},
    )


@template(3, "simple_note", "gmail", challenge=True, expects=EMAIL_SENT)
def email_note(world: Contents, person: Person, random: Random) -> Draft | None:
    """Emails a note's text."""
    note = random.choice([note for note in world.of(person).notes if note.kind == "list"])
    receiver, subject = random.choice(world.strangers), random.choice(words.SUBJECTS)
    email = call(
        "gmail",
        "send_email",
        email_addresses=f"[{quoted(receiver.email)}]",
        subject=quoted(subject),
        body='note["content"]',
    )
    send = step(
        "write",
        "gmail",
        [
            f"Email the note to {receiver.email} with the subject '{subject}'.",
            f"Send the note's content to {receiver.email} by Gmail, subject '{subject}'.",
        ],
        f"call send_email to {receiver.email} with subject '{subject}' and the note's content as body",
        [email, f'print("email sent to {receiver.email}")'],
        f"email sent to {receiver.email}",
    )
    return Draft(
        [
            f"Email my Simple Note note '{note.title}' to {receiver.email} with the subject '{subject}'.",
            f"Send the text of '{note.title}' in Simple Note to {receiver.email} by Gmail, subject '{subject}'.",
            f"{receiver.email} needs the content of my Simple Note note '{note.title}' as an email, "
            f"with '{subject}' as its subject.",
        ],
        {"note": note.title, "email": receiver.email, "subject": subject},
        [login_step("simple_note"), read_note(note), login_step("gmail"), send],
        rows={"added gmail.Email": [(person.email, [receiver.email], subject, note.content)]},
    )
