"""Scenarios that start from a note in Simple Note."""

from __future__ import annotations

from random import Random
from textwrap import dedent

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents, Note
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import TaskDraft, Template, login_step, without_token
from prost_lightning.miniworld.scenarios.projects import find_project
from prost_lightning.miniworld.script import Mistake, ScriptStep


def _read_note(note: Note, other_title: str) -> ScriptStep:
    def code(title: str) -> str:
        return (
            f'notes = apis.simple_note.search_notes(query="{title}", access_token=simple_note_token)\n'
            'note = apis.simple_note.show_note(note_id=notes[0]["note_id"], access_token=simple_note_token)\n'
            'items = note["content"].splitlines()\n'
            'print(note["title"], "has", len(items), "items")'
        )

    right = code(note.title)
    return ScriptStep(
        kind="collect",
        apps=["simple_note"],
        goals=[
            f"Read the note '{note.title}' in Simple Note.",
            f"Get the items of the Simple Note note '{note.title}'.",
        ],
        plans=[
            f"Use search_notes for '{note.title}', then show_note; split the content into items.",
            f"Find '{note.title}' with search_notes, read it with show_note, keep its lines in items.",
        ],
        lookups=[("simple_note", "search_notes"), ("simple_note", "show_note")],
        code=right,
        result=f"{note.title} has {len(note.items)} items",
        mistakes=[
            Mistake("wrong_argument", code(other_title), f"It reads the note '{other_title}', not '{note.title}'."),
            Mistake(
                "missing_login",
                without_token(right, "simple_note"),
                "search_notes needs access_token=simple_note_token.",
            ),
        ],
    )


def _choose_note(contents: Contents, person: Person, random: Random) -> tuple[Note, ScriptStep]:
    note, other = random.sample(contents.of(person).notes, 2)
    return note, _read_note(note, other.title)


def _draft_note_to_project(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    note, read = _choose_note(contents, person, random)
    project = random.choice(contents.of(person).projects)
    priority = random.choice(words.PRIORITIES)
    code = (
        find_project(project.name)
        + "for item in items:\n"
        + f'    apis.todoist.create_task(project_id=projects[0]["project_id"], title=item, priority="{priority}", '
        + "access_token=todoist_token)\n"
        + 'print(len(items), "tasks added")'
    )
    wording = random.choice(
        (
            f"Add each item of my Simple Note note '{note.title}' to my Todoist project '{project.name}' "
            f"with {priority} priority.",
            f"Turn the items of '{note.title}' in Simple Note into {priority} priority tasks of my Todoist "
            f"project '{project.name}'.",
        )
    )
    add = ScriptStep(
        kind="write",
        apps=["todoist"],
        goals=[
            f"Add the items to the Todoist project '{project.name}' with {priority} priority.",
            f"Create a {priority} priority task in '{project.name}' for each item.",
        ],
        plans=[
            f"Find the project '{project.name}', call create_task for each item with priority {priority}.",
            f"Take project_id of '{project.name}' from show_projects; create_task per item, priority {priority}.",
        ],
        lookups=[("todoist", "show_projects"), ("todoist", "create_task")],
        code=code,
        result=f"{len(note.items)} tasks added",
        mistakes=[
            Mistake("missing_login", without_token(code, "todoist"), "show_projects needs access_token=todoist_token."),
            Mistake(
                "wrong_api", code.replace("create_task(", "add_task("), "todoist has no API add_task; use create_task."
            ),
            Mistake(
                "wrong_argument",
                code.replace(f'priority="{priority}"', 'priority="urgent"'),
                f"The priority must be {priority}, not urgent.",
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"note": note.title, "project": project.name, "priority": priority},
        private={"items": sorted(note.items)},
        answer=None,
        steps=[login_step("simple_note"), read, login_step("todoist"), add],
    )


def _draft_email_note(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    note, read = _choose_note(contents, person, random)
    receiver = random.choice([other for other in contents.people if other is not person])
    subject = random.choice(words.SUBJECTS)
    code = (
        f'apis.gmail.send_email(email_addresses=["{receiver.email}"], subject="{subject}", '
        'body=note["content"], access_token=gmail_token)\n'
        f'print("email sent to {receiver.email}")'
    )
    wording = random.choice(
        (
            f"Email my Simple Note note '{note.title}' to {receiver.email} with the subject '{subject}'.",
            f"Send the text of '{note.title}' in Simple Note to {receiver.email} by Gmail, subject '{subject}'.",
        )
    )
    send = ScriptStep(
        kind="write",
        apps=["gmail"],
        goals=[
            f"Email the note to {receiver.email} with the subject '{subject}'.",
            f"Send the note's content to {receiver.email} by Gmail, subject '{subject}'.",
        ],
        plans=[
            f"Call send_email to {receiver.email} with subject '{subject}' and the note's content as body.",
            "Use send_email with gmail_token; the body is the content of note.",
        ],
        lookups=[("gmail", "send_email")],
        code=code,
        result=f"email sent to {receiver.email}",
        mistakes=[
            Mistake("missing_login", without_token(code, "gmail"), "send_email needs access_token=gmail_token."),
            Mistake(
                "wrong_api", code.replace("send_email(", "send_mail("), "gmail has no API send_mail; use send_email."
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"note": note.title, "email": receiver.email, "subject": subject},
        private={"body": "\n".join(note.items)},
        answer=None,
        steps=[login_step("simple_note"), read, login_step("gmail"), send],
    )


TEMPLATES = (
    Template(
        name="note_to_project",
        difficulty=3,
        apps=("simple_note", "todoist"),
        draft=_draft_note_to_project,
        changes=("todoist.Task",),
        checks=dedent(
            """
            added, updated, removed = models.changed_records("todoist.Task")
            with test("every item of the note became one task"):
                test.case(sorted(task.title for task in added), "==", list(private_data["items"]))
                test.case(len(updated) + len(removed), "==", 0)
            with test("project, owner and priority of the new tasks are right"):
                test.case([task.project.name for task in added], "all ==", public_data.project)
                test.case([task.project.user.email for task in added], "all ==", main_user.email)
                test.case([task.priority for task in added], "all ==", public_data.priority)
            """
        ),
    ),
    Template(
        name="email_note",
        difficulty=3,
        apps=("simple_note", "gmail"),
        draft=_draft_email_note,
        changes=("gmail.Email", "gmail.GlobalEmailThread", "gmail.UserEmailThread"),
        checks=dedent(
            """
            added, updated, removed = models.changed_records("gmail.Email")
            with test("one email went from the supervisor to the right address only"):
                test.case([email.sender.email for email in added], "==", [main_user.email])
                test.case([email.recipient_email_addresses for email in added], "==", [[public_data.email]])
                test.case(len(updated) + len(removed), "==", 0)
            with test("subject and body are right"):
                test.case([email.subject for email in added], "==", [public_data.subject])
                test.case([email.body for email in added], "==", [private_data.body])
            """
        ),
        challenge=True,
    ),
)
