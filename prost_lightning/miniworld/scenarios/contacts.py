"""Scenarios about the phone's contacts, and the sub-task that reads them."""

from __future__ import annotations

from random import Random
from textwrap import dedent

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import PAGE_LIMIT, Contact, Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import TaskDraft, Template, collect_step, login_step, without_token
from prost_lightning.miniworld.script import Mistake, ScriptStep


def collect_contacts(contacts: tuple[Contact, ...]) -> ScriptStep:
    """The sub-task that leaves all phone contacts in ``contacts``."""
    return collect_step(
        "phone",
        "search_contacts",
        "contacts",
        len(contacts),
        ["Collect all phone contacts.", "Get every contact of the phone book.", "List all contacts in the phone."],
    )


def _draft_text_contact(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    contacts = contents.of(person).contacts
    receiver = random.choice(contacts[PAGE_LIMIT:]).person
    message = random.choice(words.MESSAGES)
    code = (
        f'matches = [c for c in contacts if c["first_name"] == "{receiver.first_name}"]\n'
        "for contact in matches:\n"
        f'    apis.phone.send_text_message(phone_number=contact["phone_number"], message="{message}", '
        "access_token=phone_token)\n"
        'print(len(matches), "message sent")'
    )
    wording = random.choice(
        (
            f"Send {receiver.first_name} from my phone contacts the text message '{message}'.",
            f"Text '{message}' to {receiver.first_name}, who is in my phone contacts.",
        )
    )
    send = ScriptStep(
        kind="write",
        apps=["phone"],
        goals=[
            f"Text '{message}' to the contact {receiver.first_name}.",
            f"Send {receiver.first_name} the text message '{message}'.",
        ],
        plans=[
            f"Keep the contact with first name {receiver.first_name}, call send_text_message with the phone number.",
            f"Filter contacts by first name {receiver.first_name}; send '{message}' to the phone_number.",
        ],
        lookups=[("phone", "send_text_message")],
        code=code,
        result="1 message sent",
        mistakes=[
            Mistake("missing_login", without_token(code, "phone"), "send_text_message needs access_token=phone_token."),
            Mistake(
                "wrong_argument",
                code.replace('contact["phone_number"]', 'contact["email"]'),
                "phone_number must be the contact's phone number, not the email.",
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"first_name": receiver.first_name, "message": message},
        private={"phone_number": receiver.phone_number},
        answer=None,
        steps=[login_step("phone"), collect_contacts(contacts), send],
    )


TEMPLATES = (
    Template(
        name="phone_text_contact",
        difficulty=1,
        apps=("phone",),
        draft=_draft_text_contact,
        changes=("phone.GlobalTextMessage", "phone.UserTextMessage"),
        checks=dedent(
            """
            added, updated, removed = models.changed_records("phone.GlobalTextMessage")
            with test("one message with the right text went to the right number"):
                test.case([message.message for message in added], "==", [public_data.message])
                test.case([message.receiver.phone_number for message in added], "==", [private_data.phone_number])
                test.case([message.sender.phone_number for message in added], "==", [main_user.phone_number])
                test.case(len(updated) + len(removed), "==", 0)
            """
        ),
        challenge=True,
    ),
)
