"""Scenarios about shopping on Amazon for, with and because of somebody."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.amazon import Product
from prost_lightning.miniworld.apps.gmail import Thread
from prost_lightning.miniworld.contents import PAGE_LIMIT, Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.amazon_steps import (
    CART_FILLED,
    add_to_cart,
    choose_product,
    collect_products,
    find_product,
)
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.expectations import added, side
from prost_lightning.miniworld.scenarios.gmail_steps import (
    THREAD_ANSWERED,
    collect_inbox,
    find_order,
    newest,
    read_newest,
    reply,
    send_text,
)
from prost_lightning.miniworld.scenarios.notes import EMAIL_SENT
from prost_lightning.miniworld.scenarios.phone import collect_contacts
from prost_lightning.miniworld.scenarios.shapes import write_once
from prost_lightning.miniworld.scenarios.steps import login_step, quoted, write_each
from prost_lightning.miniworld.scenarios.venmo_steps import MONEY_REQUESTED, request, request_rows
from prost_lightning.miniworld.script import ScriptStep

TEXTED = (
    added("phone.GlobalTextMessage", "sender.phone_number", "receiver.phone_number", "message"),
    side("phone.UserTextMessage", grows=True),
)
"""What sending text messages changes."""


def random_order(world: Contents, person: Person, random: Random) -> tuple[Thread, Product] | None:
    """Chooses the newest email with which somebody asks for a product that is in stock and on no list yet."""
    account, shop = world.of(person).gmail, world.of(person).amazon
    orders = [t for t in account.inbox if t.kind == "order" and t.emails[0].sender is t.other]
    thread = newest(account, "Shopping", random.choice(orders).other) if orders else None
    if thread is None or thread not in orders:
        return None
    product = next(product for product in world.shop.products if product.name == thread.topic)
    listed = [item.product for item in (*shop.cart, *shop.wish_list)]
    return None if product in listed or product.stock < thread.amount else (thread, product)


def read_order(world: Contents, person: Person, thread: Thread, product: Product) -> list[ScriptStep]:
    """The sub-tasks that find out which product an email asks for."""
    inbox = collect_inbox(world.of(person).gmail)
    read = read_newest(thread, of_person=True)
    return [login_step("gmail"), inbox, read, find_order(thread), find_product(product), login_step("amazon")]


def text_product(condition: tuple[str, str], whom: str, count: int) -> ScriptStep:
    """The sub-task that texts the product's name to contacts.

    Args:
        condition: Which contacts, in Python and in words.
        whom: Who they are, as ``the contact Ann Lee``.
        count: How many they are.
    """
    return write_each(
        "phone",
        "send_text_message",
        "contacts",
        "contact",
        condition,
        [f"Text just the product's name to {whom}.", f"Send {whom} a text message that is the product's name."],
        f"{count} messages sent",
        phone_number='contact["phone_number"]',
        message='product["name"]',
    )


@template(2, "gmail", "amazon", expects=[*CART_FILLED, *THREAD_ANSWERED])
def gmail_cart_order(world: Contents, person: Person, random: Random) -> Draft | None:
    """Puts into the cart what an email asks for, and answers it."""
    order, text = random_order(world, person, random), random.choice(words.MESSAGES)
    if order is None:
        return None
    thread, product = order
    other = thread.other
    whose = f"'Shopping' with {other.name} ({other.email})"
    return Draft(
        [
            f"Put what the first email of the newest thread {whose} in my Gmail inbox asks for into my Amazon cart, "
            "and "
            f"reply '{text}' to that email.",
            f"The first email of the last created thread {whose} in my Gmail inbox says what belongs in my Amazon "
            "cart. "
            f"Add it, then answer the email with '{text}'.",
            f"Fill my Amazon cart as the first email of the most recently created thread {whose} in my Gmail inbox "
            "asks. "
            f"Then reply to it: '{text}'.",
        ],
        {"email": other.email, "message": text},
        [*read_order(world, person, thread, product), add_to_cart(thread.amount), reply(other, text)],
        rows={
            "added amazon.CartEntry": [(product.name, person.email, thread.amount)],
            "added gmail.Email": [(person.email, [other.email], "Re: Shopping", text, thread.emails[0].id)],
        },
    )


@template(2, "amazon", "gmail", expects=EMAIL_SENT)
def amazon_email_best(world: Contents, person: Person, random: Random) -> Draft | None:
    """Emails the name of the cheapest or most expensive product that is good enough."""
    choice, other, subject = (
        choose_product(world, random),
        random.choice(world.strangers),
        random.choice(words.SUBJECTS),
    )
    if choice is None:
        return None
    product, said, compute = choice
    send = send_text(other, subject, 'product["name"]', "the product's name")
    return Draft(
        [
            f"Find the {said} on Amazon and email {other.email} its name, nothing else, with the subject '{subject}'.",
            f"Send {other.email} an email with the subject '{subject}' whose body is just the name of the {said} on "
            "Amazon.",
            f"{other.email} looks for the {said} on Amazon. Email them the product's name, and only that, with the "
            f"subject '{subject}'.",
        ],
        {"product": said, "email": other.email, "subject": subject},
        [login_step("amazon"), collect_products(world, product.type), compute, login_step("gmail"), send],
        rows={"added gmail.Email": [(person.email, [other.email], subject, product.name)]},
    )


@template(2, "phone", "amazon", challenge=True, expects=TEXTED)
def amazon_text_best(world: Contents, person: Person, random: Random) -> Draft | None:
    """Texts the name of the cheapest or most expensive product that is good enough to a contact."""
    choice, contacts = choose_product(world, random), world.of(person).phone.contacts
    if choice is None:
        return None
    product, said, compute = choice
    other = random.choice(contacts[PAGE_LIMIT:]).person
    named = f'c["first_name"] == {quoted(other.first_name)} and c["last_name"] == {quoted(other.last_name)}'
    text = text_product((named, f"the name {other.name}"), f"the contact {other.name}", 1)
    return Draft(
        [
            f"Text {other.name} from my phone contacts the name, and nothing else, of the {said} on Amazon.",
            f"Find the {said} on Amazon and text just its name to my phone contact {other.name}.",
            f"My phone contact {other.name} wants to know by text message which is the {said} on Amazon. Send only the "
            "product's name.",
        ],
        {"product": said, "receiver": other.name},
        [
            *(login_step("amazon"), collect_products(world, product.type), compute),
            *(login_step("phone"), collect_contacts(contacts), text),
        ],
        rows={"added phone.GlobalTextMessage": [(person.phone_number, other.phone_number, product.name)]},
    )


@template(3, "phone", "amazon", challenge=True, expects=TEXTED)
def amazon_text_relationship(world: Contents, person: Person, random: Random) -> Draft | None:
    """Texts all contacts of a relationship the name of a product."""
    choice, contacts = choose_product(world, random), world.of(person).phone.contacts
    relationship = random.choice(words.RELATIONSHIPS)
    chosen = [contact.person for contact in contacts if relationship in contact.relationships]
    if choice is None or not 2 <= len(chosen) <= 8:
        return None
    product, said, compute = choice
    related = (f'{quoted(relationship)} in c["relationships"]', f"relationship {relationship}")
    text = text_product(related, f"each {relationship} among the contacts", len(chosen))
    return Draft(
        [
            f"Text each {relationship} in my phone contacts the name, and nothing else, of the {said} on Amazon.",
            f"Find the {said} on Amazon and text just its name to every {relationship} in my phone contacts.",
            f"Every {relationship} in my phone contacts should learn by text message which is the {said} on Amazon; "
            "send "
            "the product's name only.",
        ],
        {"product": said, "relationship": relationship},
        [
            *(login_step("amazon"), collect_products(world, product.type), compute),
            *(login_step("phone"), collect_contacts(contacts), text),
        ],
        rows={
            "added phone.GlobalTextMessage": [(person.phone_number, o.phone_number, product.name) for o in chosen],
        },
    )


@template(3, "gmail", "amazon", "venmo", expects=[*CART_FILLED, *MONEY_REQUESTED])
def gmail_cart_order_request(world: Contents, person: Person, random: Random) -> Draft | None:
    """Puts into the cart what an email asks for, and requests its price."""
    order, note = random_order(world, person, random), random.choice(words.PAYMENTS)
    if order is None:
        return None
    thread, product = order
    other, price = thread.other, round(product.price * thread.amount, 2)
    whose = f"'Shopping' with {other.name} ({other.email})"
    ask = request(other, 'round(product["price"] * quantity, 2)', note, str(price))
    return Draft(
        [
            f"Put what the first email of the newest thread {whose} in my Gmail inbox asks for into my Amazon cart. "
            "Then "
            f"request its price times the quantity, nothing more, from {other.email} on Venmo with the note '{note}'.",
            f"The first email of the last created thread {whose} in my Gmail inbox says what belongs in my Amazon "
            "cart. "
            f"Add it, and send {other.email} a Venmo request for price times quantity, described as '{note}'.",
            f"Fill my Amazon cart as the first email of the most recently created thread {whose} in my Gmail inbox "
            "asks. "
            f"On Venmo, request from {other.email} the product's price times the quantity; the note is '{note}'.",
        ],
        {"email": other.email, "note": note},
        [*read_order(world, person, thread, product), add_to_cart(thread.amount), login_step("venmo"), ask],
        rows={
            "added amazon.CartEntry": [(product.name, person.email, thread.amount)],
            **request_rows(person, [(other, price)], note),
        },
    )


_NOTED = added("simple_note.Note", "title", "content", "user.email")


@template(3, "simple_note", "amazon", "gmail", expects=[*CART_FILLED, _NOTED])
def gmail_cart_order_note(world: Contents, person: Person, random: Random) -> Draft | None:
    """Puts what an email asks for into the cart, and notes it."""
    order, title = random_order(world, person, random), f"{random.choice(words.PLAYLISTS)} Shopping"
    if order is None:
        return None
    thread, product = order
    whose = f"'Shopping' with {thread.other.name} ({thread.other.email})"
    note = write_once(
        "simple_note",
        "create_note",
        [f"Create a note '{title}' of the product's name.", f"Write the product's name in a new note '{title}'."],
        f"with the title '{title}' and the name as content",
        '"noted", name',
        f"noted {product.name}",
        title=quoted(title),
        content="name",
    )
    return Draft(
        [
            f"Put what the first email of the newest thread {whose} in my Gmail inbox asks for into my Amazon cart. "
            "Then "
            f"create a Simple Note note '{title}' whose content is just the product's name.",
            f"The first email of the last created thread {whose} in my Gmail inbox says what belongs in my Amazon "
            "cart. "
            f"Add it, and write only the product's name in a new Simple Note note called '{title}'.",
            f"Fill my Amazon cart as the first email of the most recently created thread {whose} in my Gmail inbox "
            "asks. "
            f"A new Simple Note note '{title}' should have the product's name as its whole content.",
        ],
        {"email": thread.other.email, "title": title},
        [*read_order(world, person, thread, product), add_to_cart(thread.amount), login_step("simple_note"), note],
        rows={
            "added amazon.CartEntry": [(product.name, person.email, thread.amount)],
            "added simple_note.Note": [(title, product.name, person.email)],
        },
    )
