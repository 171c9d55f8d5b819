"""Scenarios about money on Venmo."""

from __future__ import annotations

from random import Random
from textwrap import dedent

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import (
    TaskDraft,
    Template,
    beyond_first_page,
    collect_step,
    login_step,
    without_token,
)
from prost_lightning.miniworld.scenarios.contacts import collect_contacts
from prost_lightning.miniworld.script import Mistake, ScriptStep


def _draft_total(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    direction = random.choice(("sent", "received"))
    partner = random.choice(contents.of(person).contacts).person
    mine = [p for p in contents.payments if (p.sender if direction == "sent" else p.receiver) is person]
    matches = [p for p in mine if (p.receiver if direction == "sent" else p.sender) is partner]
    opposite = [p for p in contents.payments if {p.sender.index, p.receiver.index} == {person.index, partner.index}]
    total = sum(payment.amount for payment in matches)
    # Without payments in both directions the wrong direction would go unnoticed.
    if len(matches) < 2 or len(opposite) == len(matches) or not beyond_first_page(mine, matches):
        return None
    side, wrong_side = ("receiver", "sender") if direction == "sent" else ("sender", "receiver")
    preposition = "to" if direction == "sent" else "from"

    def code(side: str) -> str:
        return (
            f'matches = [t for t in transactions if t["{side}"]["name"] == "{partner.name}"]\n'
            'print(sum(t["amount"] for t in matches))'
        )

    wording = random.choice(
        (
            f"How much money in total have I {direction} {preposition} {partner.name} on Venmo?",
            f"What is the sum of all Venmo payments that I {direction} {preposition} {partner.name}?",
        )
    )
    collect = collect_step(
        "venmo",
        "show_transactions",
        "transactions",
        len(mine),
        [
            f"Collect all {direction} Venmo transactions.",
            f"Get every Venmo transaction that was {direction}.",
            f"List all Venmo transactions with direction {direction}.",
        ],
        {"direction": direction},
    )
    compute = ScriptStep(
        kind="compute",
        apps=["venmo"],
        goals=[
            f"Add up the amounts {direction} {preposition} {partner.name}.",
            f"Print the total amount {direction} {preposition} {partner.name}.",
        ],
        plans=[
            f"Keep the transactions whose {side} is {partner.name}, sum their amounts.",
            f"Filter transactions by {side} name {partner.name}; print the sum of amount.",
        ],
        lookups=[("venmo", "show_transactions")],
        code=code(side),
        result=str(float(total)),
        mistakes=[
            Mistake("wrong_argument", code(wrong_side), f"It compares the {wrong_side}; the money was {direction} "
                    f"{preposition} {partner.name}, so compare the {side}."),
        ],
    )  # fmt: skip
    return TaskDraft(
        instruction=wording,
        public={"direction": direction, "partner": partner.name},
        private={},
        answer=float(total),
        steps=[login_step("venmo"), collect, compute],
    )


def _draft_pay_contacts(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    contacts = contents.of(person).contacts
    relationship = random.choice(words.RELATIONSHIPS)
    amount = random.randint(6, 95)
    note = random.choice(words.PAYMENTS)
    related = [contact for contact in contacts if contact.relationship == relationship]
    if not 2 <= len(related) <= 6 or not beyond_first_page(contacts, related):
        return None
    chosen = [contact.person for contact in related]
    code = (
        f'matches = [c for c in contacts if "{relationship}" in c["relationships"]]\n'
        "for contact in matches:\n"
        f'    apis.venmo.create_transaction(receiver_email=contact["email"], amount={amount}, description="{note}", '
        "access_token=venmo_token)\n"
        'print(len(matches), "payments sent")'
    )
    wording = random.choice(
        (
            f"Send ${amount} on Venmo to each {relationship} in my phone contacts with the note '{note}'.",
            f"Pay every {relationship} in my phone contacts ${amount} on Venmo and describe it as '{note}'.",
        )
    )
    pay = ScriptStep(
        kind="write",
        apps=["venmo"],
        goals=[
            f"Send ${amount} to each {relationship} among the contacts with the note '{note}'.",
            f"Pay every {relationship} ${amount} on Venmo with the note '{note}'.",
        ],
        plans=[
            f"Keep each contact that is a {relationship}, call create_transaction for its email with amount {amount}.",
            f"Filter contacts by relationship {relationship}; send {amount} to each with description '{note}'.",
        ],
        lookups=[("venmo", "create_transaction")],
        code=code,
        result=f"{len(chosen)} payments sent",
        mistakes=[
            Mistake(
                "missing_login", without_token(code, "venmo"), "create_transaction needs access_token=venmo_token."
            ),
            Mistake(
                "wrong_argument",
                code.replace('contact["email"]', 'contact["phone_number"]'),
                "receiver_email must be the contact's email, not the phone number.",
            ),
            Mistake(
                "wrong_api",
                code.replace("create_transaction(", "send_money("),
                "venmo has no API send_money; use create_transaction.",
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"relationship": relationship, "amount": amount, "note": note},
        private={"emails": sorted(receiver.email for receiver in chosen)},
        answer=None,
        steps=[login_step("phone"), collect_contacts(contacts), login_step("venmo"), pay],
    )


TEMPLATES = (
    Template(
        name="venmo_total",
        difficulty=2,
        apps=("venmo",),
        draft=_draft_total,
    ),
    Template(
        name="venmo_pay_contacts",
        difficulty=3,
        apps=("phone", "venmo"),
        draft=_draft_pay_contacts,
        changes=("venmo.User", "venmo.Transaction", "venmo.Notification"),
        checks=dedent(
            """
            added, updated, removed = models.changed_records("venmo.Transaction")
            with test("exactly the right people were paid, once each"):
                test.case(sorted(payment.receiver.email for payment in added), "==", list(private_data.emails))
                test.case(len(updated) + len(removed), "==", 0)
            with test("sender, amount and note are right"):
                test.case([payment.sender.email for payment in added], "all ==", main_user.email)
                test.case([payment.amount for payment in added], "all ==", public_data.amount)
                test.case([payment.description for payment in added], "all ==", public_data.note)
            with test("the money came from the Venmo balance and nothing else of an account changed"):
                test.case([payment.payment_card_digits for payment in added], "all ==", None)
                for user in models.changed_records("venmo.User")[1]:
                    test.case(models.changed_field_names("venmo.User", user.id), "==", {"venmo_balance"})
            added, updated, removed = models.changed_records("venmo.Notification")
            with test("only the receivers were notified"):
                test.case(sorted(notice.user.email for notice in added), "==", list(private_data.emails))
                test.case(len(updated) + len(removed), "==", 0)
            """
        ),
    ),
)
