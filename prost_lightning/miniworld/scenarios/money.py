"""Scenarios about payments and payment requests on Venmo, alone and asked for in emails and text messages."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.phone import PhoneMessage
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.expectations import added, side, updated
from prost_lightning.miniworld.scenarios.gmail_steps import collect_inbox, find_amount, newest, read_newest
from prost_lightning.miniworld.scenarios.periods import random_month, random_year
from prost_lightning.miniworld.scenarios.phone import collect_contacts
from prost_lightning.miniworld.scenarios.shapes import compute_from, needs_all_pages
from prost_lightning.miniworld.scenarios.steps import collect_step, keep, login_step, quoted, step, write_each
from prost_lightning.miniworld.scenarios.venmo import PAYMENTS_MADE
from prost_lightning.miniworld.scenarios.venmo_steps import (
    CREATED,
    MONEY_REQUESTED,
    collect_transactions,
    pay,
    payment_rows,
    request,
    request_rows,
)
from prost_lightning.miniworld.script import ScriptStep


@template(1, "venmo")
def venmo_largest_payment(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks what the largest payment of a month was for."""
    account = world.of(person).venmo
    # As the app lists them where no direction is given.
    payments = [*account.sent(person), *account.received(person)]
    month = random_month(random, [payment.created_at for payment in payments])
    matches = [payment for payment in payments if month and month.holds(payment.created_at)]
    matches.sort(key=lambda payment: payment.amount)
    if month is None or len(matches) < 2 or matches[-1].amount == matches[-2].amount:
        return None
    note = matches[-1].description
    if note == matches[0].description or not needs_all_pages(payments, lambda some: matches[-1] in some):
        return None
    compute = compute_from(
        "venmo",
        "transactions",
        month.condition(CREATED),
        'max(matches, key=lambda t: t["amount"])["description"]',
        [
            f"Find the description of the largest transaction of {month.iso}.",
            f"Print the description of the transaction with the highest amount created in {month.iso}.",
        ],
        f"keep the transactions created in {month.iso}, take the one with the largest amount, print its description",
        note,
    )
    return Draft(
        [
            f"What is the description of the largest Venmo payment that I sent or received {month.said}?",
            f"Of all Venmo payments that I sent or received {month.said}, which was the largest? Tell me its "
            "description.",
            f"I need the description of the biggest of my Venmo payments {month.said}, sent and received alike.",
        ],
        {"month": month.said},
        [login_step("venmo"), collect_transactions(payments), compute],
        answer=note,
    )


_DENIED = (updated("venmo.PaymentRequest", "id", only=["denied_at"]), added("venmo.Notification", "user.email"))


@template(2, "venmo", expects=_DENIED)
def venmo_deny_requests(world: Contents, person: Person, random: Random) -> Draft | None:
    """Denies the pending requests above an amount."""
    limit, requests = random.randint(10, 70), world.of(person).venmo.received_requests
    pending = [request for request in requests if request.status == "pending"]
    chosen = [request for request in pending if request.amount > limit]
    if not 1 <= len(chosen) < len(pending):
        return None
    what, api = "pending Venmo payment requests that I have received", "show_received_payment_requests"
    deny = write_each(
        "venmo",
        "deny_payment_request",
        "requests",
        "request",
        (f'r["amount"] > {limit}', f"amount above {limit}"),
        [f"Deny every pending request above ${limit}.", f"Deny the pending requests of more than ${limit}."],
        f"{len(chosen)} requests denied",
        payment_request_id='request["payment_request_id"]',
    )
    return Draft(
        [
            f"Deny all pending payment requests on Venmo in which somebody asks me for more than ${limit}.",
            f"On Venmo, deny each payment request I have received that is still pending and above ${limit}.",
            f"I do not want to pay more than ${limit} at once: deny the pending Venmo requests that ask me for more.",
        ],
        {"limit": limit},
        [login_step("venmo"), collect_step("venmo", api, "requests", len(pending), what, status='"pending"'), deny],
        rows={
            "updated venmo.PaymentRequest": [(request.id,) for request in chosen],
            "added venmo.Notification": [(request.sender.email,) for request in chosen],
        },
    )


_LIKED = (added("venmo.TransactionLike", "transaction.id", "user.email"), side("venmo.Transaction", "like_count"))


@template(2, "venmo", challenge=True, expects=_LIKED)
def venmo_like_payments(world: Contents, person: Person, random: Random) -> Draft | None:
    """Likes the payments received in a year that nobody has liked."""
    payments, limit = world.of(person).venmo.received(person), random.randint(20, 70)
    year = random_year(random, [payment.created_at for payment in payments])
    chosen = [p for p in payments if not p.liked and p.amount >= limit and year and year.holds(p.created_at)]
    if year is None or not 2 <= len(chosen) <= 8 or not beyond_first_page(payments, chosen):
        return None
    condition = f't["like_count"] == 0 and t["amount"] >= {limit} and {year.condition(CREATED)}'
    like = write_each(
        "venmo",
        "like_transaction",
        "transactions",
        "transaction",
        (condition, f"no like and an amount of {limit} or more that were created in {year.iso}"),
        [
            f"Like every received transaction of {year.iso} of at least ${limit} that has no like.",
            f"Like the transactions of {year.iso} with an amount of ${limit} or more and a like_count of 0.",
        ],
        f"{len(chosen)} transactions liked",
        transaction_id='transaction["transaction_id"]',
    )
    return Draft(
        [
            f"Like all Venmo payments of ${limit} or more that I received {year.said} and that nobody has liked yet.",
            f"Give a like to each payment of at least ${limit} that I received on Venmo {year.said} and that has none.",
            f"Payments of ${limit} or more received by me on Venmo {year.said} and without any like should get mine.",
        ],
        {"limit": limit, "year": year.said},
        [login_step("venmo"), collect_transactions(payments, "received"), like],
        rows={"added venmo.TransactionLike": [(payment.id, person.email) for payment in chosen]},
    )


@template(2, "gmail", "venmo", expects=PAYMENTS_MADE)
def gmail_pay_request(world: Contents, person: Person, random: Random) -> Draft | None:
    """Pays what an email asks for."""
    account, note = world.of(person).gmail, random.choice(words.PAYMENTS)
    chosen = random.choice(account.inbox)
    thread = newest(account, chosen.subject, chosen.other)
    if thread.kind != "request" or thread.emails[0].sender is person:
        return None
    other, whose = thread.other, f"'{thread.subject}' with {thread.other.name} ({thread.other.email})"
    return Draft(
        [
            f"The newest thread {whose} in my Gmail inbox asks me for money. Pay it on Venmo with the note '{note}'.",
            f"Pay on Venmo what the last created thread {whose} in my Gmail inbox asks me for, with the note '{note}'.",
            f"I am asked for money in the most recently created thread {whose} of my Gmail inbox. Send the amount on "
            f"Venmo, described as '{note}'.",
        ],
        {"email": other.email, "subject": thread.subject, "note": note},
        [
            login_step("gmail"),
            collect_inbox(account),
            read_newest(thread, of_person=True),
            find_amount(thread),
            login_step("venmo"),
            pay(other, 'email["sender"]["email"]', "amount", note, str(thread.amount)),
        ],
        rows=payment_rows(person, [(other, thread.amount)], note),
    )


@template(2, "gmail", "venmo", expects=MONEY_REQUESTED)
def gmail_request_half_bill(world: Contents, person: Person, random: Random) -> Draft | None:
    """Requests half of a bill from somebody."""
    account, other, note = world.of(person).gmail, random.choice(world.strangers), random.choice(words.PAYMENTS)
    thread = newest(account, random.choice(account.inbox).subject)
    if thread.kind != "bill" or not beyond_first_page(account.inbox, [thread]):
        return None
    subject = thread.subject
    return Draft(
        [
            f"Request half of the bill in the newest thread '{subject}' of my Gmail inbox from {other.email} on Venmo, "
            f"with the note '{note}'.",
            f"{other.email} owes me half of the bill that the last created thread '{subject}' in my Gmail inbox is "
            "about. "
            f"Send them a Venmo payment request for it, described as '{note}'.",
            f"Ask {other.email} on Venmo for one half of what the most recently created thread '{subject}' in my Gmail "
            f"inbox bills. The note shall be '{note}'.",
        ],
        {"email": other.email, "subject": subject, "note": note},
        [
            login_step("gmail"),
            collect_inbox(account),
            read_newest(thread),
            find_amount(thread),
            login_step("venmo"),
            request(other, "amount / 2", note, str(thread.amount / 2)),
        ],
        rows=request_rows(person, [(other, thread.amount / 2)], note),
    )


def find_contact(person: Person) -> ScriptStep:
    """The sub-task that leaves the contact with a full name in ``contact``."""
    named = f'c["first_name"] == {quoted(person.first_name)} and c["last_name"] == {quoted(person.last_name)}'
    return step(
        "compute",
        "phone",
        [f"Find the contact {person.name}.", f"Print the email address of the contact {person.name}."],
        f"take the contact with first name {person.first_name} and last name {person.last_name}, print the email",
        [keep("contacts", named), "contact = matches[0]", 'print(contact["email"])'],
        person.email,
    )


def find_debt(debt: PhoneMessage) -> ScriptStep:
    """The sub-task that leaves the dollars of the last text message of ``contact`` about a debt in ``amount``."""
    sent = 't["sender"]["phone_number"] == contact["phone_number"] and t["message"].startswith("You owe me")'
    return step(
        "compute",
        "phone",
        [
            f"Find the amount in the newest text from {debt.sender.name} that begins with 'You owe me'.",
            f"Print the dollars that the last 'You owe me' text from {debt.sender.name} names.",
        ],
        f"keep the texts from {debt.sender.name} that begin with 'You owe me', take the number of the newest as amount",
        [
            keep("texts", sent),
            'amount = int(max(matches, key=lambda t: t["sent_at"])["message"].split("$")[1].split()[0])',
            "print(amount)",
        ],
        str(debt.amount),
        wrong=("int(", "len(", "That is the number of digits; the amount is the number itself."),
    )


@template(2, "phone", "venmo", expects=PAYMENTS_MADE)
def phone_pay_debt(world: Contents, person: Person, random: Random) -> Draft | None:
    """Pays what the last of somebody's text messages about money asks for."""
    account, note = world.of(person).phone, random.choice(words.PAYMENTS)
    debts = [message for message in account.texts if message.kind == "debt" and message.receiver is person]
    if not debts:
        return None
    other = random.choice(debts).sender
    debt = next(message for message in debts if message.sender is other)
    what, number = f"text messages exchanged with {other.name}", 'contact["phone_number"]'
    count = sum(other in (message.sender, message.receiver) for message in account.texts)
    return Draft(
        [
            f"Pay {other.name} from my phone contacts on Venmo, note '{note}', what their last text message that "
            "begins "
            "with 'You owe me' asks for.",
            f"Send my phone contact {other.name} on Venmo, with the note '{note}', the amount of their newest text "
            "message that says 'You owe me'.",
            f"Look for the latest text message in which my phone contact {other.name} says 'You owe me', and transfer "
            f"that amount on Venmo, described as '{note}'.",
        ],
        {"name": other.name, "note": note},
        [
            login_step("phone"),
            collect_contacts(account.contacts),
            find_contact(other),
            collect_step("phone", "search_text_messages", "texts", count, what, phone_number=number),
            find_debt(debt),
            login_step("venmo"),
            pay(other, 'contact["email"]', "amount", note, str(debt.amount)),
        ],
        rows=payment_rows(person, [(other, debt.amount)], note),
    )
