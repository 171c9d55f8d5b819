"""Scenarios about money on Venmo."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.expectations import added, side
from prost_lightning.miniworld.scenarios.phone import collect_contacts
from prost_lightning.miniworld.scenarios.steps import collect_step, keep, login_step, quoted, step, write_each

PAYMENTS_MADE = (
    added("venmo.Transaction", "sender.email", "receiver.email", "amount", "description", "payment_card_digits"),
    added("venmo.Notification", "user.email"),
    side("venmo.User", "venmo_balance"),
)
"""What payments from the Venmo balance change."""


@template(2, "venmo")
def venmo_total(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for the sum of the payments to or from somebody."""
    direction, preposition, side_name = random.choice((("sent", "to", "receiver"), ("received", "from", "sender")))
    account = world.of(person).venmo
    mine = account.sent(person) if direction == "sent" else account.received(person)
    partner = getattr(random.choice(mine), side_name)
    matches = [payment for payment in mine if getattr(payment, side_name) is partner]
    if len(matches) < 2 or not beyond_first_page(mine, matches):
        return None
    total = float(sum(payment.amount for payment in matches))
    compute = step(
        "compute",
        "venmo",
        [
            f"Add up the amounts {direction} {preposition} {partner.name}.",
            f"Print the total amount {direction} {preposition} {partner.name}.",
        ],
        f"keep the transactions whose {side_name} is {partner.name}, sum their amounts",
        [
            keep("transactions", f't["{side_name}"]["name"] == {quoted(partner.name)}'),
            'print(sum(t["amount"] for t in matches))',
        ],
        str(total),
    )
    what = f"Venmo transactions with direction {direction}"
    collect = collect_step("venmo", "show_transactions", "transactions", len(mine), what, direction=quoted(direction))
    return Draft(
        [
            f"How much money in total have I {direction} {preposition} {partner.name} on Venmo?",
            f"What is the sum of all Venmo payments that I {direction} {preposition} {partner.name}?",
            f"Add up everything that I {direction} {preposition} {partner.name} on Venmo and tell me the total.",
        ],
        {"direction": direction, "partner": partner.name},
        [login_step("venmo"), collect, compute],
        answer=total,
    )


@template(3, "phone", "venmo", expects=PAYMENTS_MADE)
def venmo_pay_contacts(world: Contents, person: Person, random: Random) -> Draft | None:
    """Pays all contacts of a relationship the same amount."""
    contacts = world.of(person).phone.contacts
    relationship, amount, note = (
        random.choice(words.RELATIONSHIPS),
        random.randint(6, 95),
        random.choice(words.PAYMENTS),
    )
    chosen = [contact.person for contact in contacts if relationship in contact.relationships]
    if not 2 <= len(chosen) <= 7 or not beyond_first_page([contact.person for contact in contacts], chosen):
        return None
    pay = write_each(
        "venmo",
        "create_transaction",
        "contacts",
        "contact",
        (f'{quoted(relationship)} in c["relationships"]', f"relationship {relationship}"),
        [
            f"Send ${amount} to each {relationship} among the contacts with the note '{note}'.",
            f"Pay every {relationship} ${amount} on Venmo with the note '{note}'.",
        ],
        f"{len(chosen)} payments sent",
        receiver_email='contact["email"]',
        amount=str(amount),
        description=quoted(note),
    )
    return Draft(
        [
            f"Send ${amount} on Venmo to each {relationship} in my phone contacts with the note '{note}'.",
            f"Pay every {relationship} in my phone contacts ${amount} on Venmo and describe it as '{note}'.",
            f"Each {relationship} in my phone contacts should get ${amount} from my Venmo balance, note '{note}'.",
        ],
        {"relationship": relationship, "amount": amount, "note": note},
        [login_step("phone"), collect_contacts(contacts), login_step("venmo"), pay],
        rows={
            "added venmo.Transaction": [(person.email, other.email, amount, note, None) for other in chosen],
            "added venmo.Notification": [(other.email,) for other in chosen],
        },
    )
