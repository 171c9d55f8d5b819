"""Scenarios that write to people of the phone book: the guests of a note, or everybody of a relationship."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.simple_note import Note
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.endings import TEXTS_SENT
from prost_lightning.miniworld.scenarios.notes import EMAIL_SENT, read_note
from prost_lightning.miniworld.scenarios.phone import collect_contacts
from prost_lightning.miniworld.scenarios.steps import login_step, quoted, write_each

IS_GUEST = ('c["first_name"] + " " + c["last_name"] in items', "a full name that is among the items")
"""The condition for contacts that a note lists."""


def guest_list(world: Contents, person: Person, random: Random) -> tuple[Note, list[Person]]:
    """Chooses a note of guests; returns it and the guests, in the order of the phone book."""
    note = random.choice([note for note in world.of(person).notes if note.kind == "guests"])
    known = [contact.person for contact in world.of(person).phone.contacts]
    return note, [guest for guest in known if guest.name in note.items]


@template(2, "simple_note", "phone", expects=TEXTS_SENT)
def text_guests(world: Contents, person: Person, random: Random) -> Draft | None:
    """Texts the guests that a note lists."""
    note, guests = guest_list(world, person, random)
    message, contacts = random.choice(words.MESSAGES), world.of(person).phone.contacts
    send = write_each(
        "phone",
        "send_text_message",
        "contacts",
        "contact",
        IS_GUEST,
        [f"Text '{message}' to each contact whose name is in items.", f"Send everybody in items the text '{message}'."],
        f"{len(guests)} messages sent",
        phone_number='contact["phone_number"]',
        message=quoted(message),
    )
    return Draft(
        [
            f"Send the text message '{message}' to everybody on my Simple Note note '{note.title}'; the numbers are "
            "in my phone contacts.",
            f"Text '{message}' to all people whom the Simple Note note '{note.title}' lists, using my phone contacts.",
            f"The guests in my Simple Note note '{note.title}' are phone contacts of mine. Each of them should get "
            f"the text message '{message}'.",
        ],
        {"note": note.title, "message": message},
        [login_step("simple_note"), read_note(note), login_step("phone"), collect_contacts(contacts), send],
        rows={
            "added phone.GlobalTextMessage": [(person.phone_number, guest.phone_number, message) for guest in guests],
            "added phone.UserTextMessage": [(who.phone_number,) for guest in guests for who in (person, guest)],
        },
    )


@template(2, "phone", "gmail", challenge=True, expects=EMAIL_SENT)
def email_relations(world: Contents, person: Person, random: Random) -> Draft | None:
    """Emails every contact of a relationship."""
    contacts = world.of(person).phone.contacts
    relationship, subject = random.choice(words.RELATIONSHIPS), random.choice(words.SUBJECTS)
    body = random.choice(words.MESSAGES)
    chosen = [contact for contact in contacts if relationship in contact.relationships]
    if not 2 <= len(chosen) <= 7 or not beyond_first_page(contacts, chosen):
        return None
    send = write_each(
        "gmail",
        "send_email",
        "contacts",
        "contact",
        (f'"{relationship}" in c["relationships"]', f"{relationship} among the relationships"),
        [
            f"Email each {relationship} among the contacts '{body}' with the subject '{subject}'.",
            f"Send every {relationship} an email of their own: subject '{subject}', body '{body}'.",
        ],
        f"{len(chosen)} emails sent",
        email_addresses='[contact["email"]]',
        subject=quoted(subject),
        body=quoted(body),
    )
    return Draft(
        [
            f"Send each {relationship} in my phone contacts an email of their own with the subject '{subject}' and "
            f"the body '{body}'.",
            f"Email '{body}' with the subject '{subject}' to every {relationship} in my phone contacts, one email "
            "each.",
            f"Everybody who is a {relationship} by my phone contacts should get a separate email from me: subject "
            f"'{subject}', text '{body}'.",
        ],
        {"relationship": relationship, "subject": subject, "body": body},
        [login_step("phone"), collect_contacts(contacts), login_step("gmail"), send],
        rows={"added gmail.Email": [(person.email, [contact.person.email], subject, body) for contact in chosen]},
    )


@template(3, "simple_note", "phone", "gmail", expects=EMAIL_SENT)
def email_guests(world: Contents, person: Person, random: Random) -> Draft | None:
    """Emails the guests that a note lists."""
    note, guests = guest_list(world, person, random)
    contacts = world.of(person).phone.contacts
    subject, body = random.choice(words.SUBJECTS), random.choice(words.MESSAGES)
    send = write_each(
        "gmail",
        "send_email",
        "contacts",
        "contact",
        IS_GUEST,
        [f"Email everybody in items '{body}', subject '{subject}'.", f"Send each of items '{body}' as '{subject}'."],
        f"{len(guests)} emails sent",
        email_addresses='[contact["email"]]',
        subject=quoted(subject),
        body=quoted(body),
    )
    find_guests = [login_step("simple_note"), read_note(note), login_step("phone"), collect_contacts(contacts)]
    return Draft(
        [
            f"Send everybody on my Simple Note note '{note.title}' an email of their own with the subject '{subject}' "
            f"and the body '{body}'; the addresses are in my phone contacts.",
            f"Email '{body}', subject '{subject}', to each person whom the Simple Note note '{note.title}' lists, one "
            "email each, at the address in my phone contacts.",
            f"My phone contacts have the email addresses of the guests in my Simple Note note '{note.title}'. Each "
            f"guest should get a separate email with '{subject}' as subject and '{body}' as text.",
        ],
        {"note": note.title, "subject": subject, "body": body},
        [*find_guests, login_step("gmail"), send],
        rows={"added gmail.Email": [(person.email, [guest.email], subject, body) for guest in guests]},
    )
