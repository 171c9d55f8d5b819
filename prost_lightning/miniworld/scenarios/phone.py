"""Scenarios about the phone alone."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.phone import Contact
from prost_lightning.miniworld.contents import PAGE_LIMIT, Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.expectations import added, side
from prost_lightning.miniworld.scenarios.steps import collect_step, login_step, quoted, write_each
from prost_lightning.miniworld.script import ScriptStep


def collect_contacts(contacts: tuple[Contact, ...]) -> ScriptStep:
    """The sub-task that leaves all phone contacts in ``contacts``."""
    return collect_step("phone", "search_contacts", "contacts", len(contacts), "contacts in the phone")


@template(
    1,
    "phone",
    challenge=True,
    expects=[
        added("phone.GlobalTextMessage", "sender.phone_number", "receiver.phone_number", "message"),
        side("phone.UserTextMessage", grows=True),
    ],
)
def phone_text_contact(world: Contents, person: Person, random: Random) -> Draft | None:
    """Texts a contact who may have namesakes."""
    contacts = world.of(person).phone.contacts
    receiver, message = random.choice(contacts[PAGE_LIMIT:]).person, random.choice(words.MESSAGES)
    first, last = quoted(receiver.first_name), quoted(receiver.last_name)
    send = write_each(
        "phone",
        "send_text_message",
        "contacts",
        "contact",
        (f'c["first_name"] == {first} and c["last_name"] == {last}', f"the name {receiver.name}"),
        [f"Text '{message}' to the contact {receiver.name}.", f"Send {receiver.name} the text message '{message}'."],
        "1 message sent",
        phone_number='contact["phone_number"]',
        message=quoted(message),
    )
    return Draft(
        [
            f"Send {receiver.name} from my phone contacts the text message '{message}'.",
            f"Text '{message}' to {receiver.name}, who is in my phone contacts.",
            f"Please let {receiver.name} know by text message: '{message}'. The number is in my phone contacts.",
        ],
        {"name": receiver.name, "message": message},
        [login_step("phone"), collect_contacts(contacts), send],
        rows={"added phone.GlobalTextMessage": [(person.phone_number, receiver.phone_number, message)]},
    )
