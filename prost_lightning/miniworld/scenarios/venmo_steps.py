"""Sub-tasks on Venmo that several scenarios share."""

from __future__ import annotations

from collections.abc import Sequence

from prost_lightning.miniworld.apps.venmo import Payment
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.expectations import added
from prost_lightning.miniworld.scenarios.shapes import write_for_all, write_once
from prost_lightning.miniworld.scenarios.steps import collect_step, quoted
from prost_lightning.miniworld.script import ScriptStep

MONEY_REQUESTED = (
    added("venmo.PaymentRequest", "sender.email", "receiver.email", "amount", "description"),
    added("venmo.Notification", "user.email"),
)
"""What payment requests on Venmo change."""

CREATED = 't["created_at"]'
"""When the transaction ``t`` was made."""


def collect_transactions(payments: Sequence[Payment], direction: str | None = None) -> ScriptStep:
    """The sub-task that leaves the transactions that were ``sent`` or ``received``, or all, in ``transactions``."""
    api, rows, count = "show_transactions", "transactions", len(payments)
    if direction is None:
        return collect_step("venmo", api, rows, count, "Venmo transactions, sent and received")
    return collect_step(
        "venmo", api, rows, count, f"Venmo transactions with direction {direction}", direction=quoted(direction)
    )


def pay(other: Person, receiver: str, amount: str, note: str, printed: str) -> ScriptStep:
    """The sub-task that pays one person from the Venmo balance.

    Args:
        other: Who gets it.
        receiver: The email address as a Python expression.
        amount: The dollars as a Python expression.
        note: The payment's description.
        printed: The dollars as they are printed.
    """
    return write_once(
        "venmo",
        "create_transaction",
        [
            f"Pay {other.name} ${printed} on Venmo, note '{note}'.",
            f"Send {other.name} ${printed} with the note '{note}'.",
        ],
        f"to {other.name}'s email address with the amount and the description '{note}'",
        f'"sent", {amount}',
        f"sent {printed}",
        receiver_email=receiver,
        amount=amount,
        description=quoted(note),
    )


def request(other: Person, amount: str, note: str, printed: str) -> ScriptStep:
    """The sub-task that requests money from one person.

    Args:
        other: Who is asked.
        amount: The dollars as a Python expression.
        note: The request's description.
        printed: The dollars as they are printed.
    """
    return write_once(
        "venmo",
        "create_payment_request",
        [
            f"Request ${printed} from {other.email} on Venmo with the note '{note}'.",
            f"Ask {other.email} on Venmo for ${printed}, described as '{note}'.",
        ],
        f"to {other.email} with the amount and the description '{note}'",
        f'"requested", {amount}',
        f"requested {printed}",
        user_email=quoted(other.email),
        amount=amount,
        description=quoted(note),
    )


def pay_each(rows: str, count: int, note: str) -> ScriptStep:
    """The sub-task that pays each row's ``amount`` to its ``email``; the rows stay in ``debts``."""
    return write_for_all(
        "venmo",
        "create_transaction",
        (rows, "debts", "debt"),
        [
            f"Pay each member to whom money is owed the amount on Venmo with the note '{note}'.",
            f"Send on Venmo what is owed to each member, described as '{note}'.",
        ],
        f"for each row of source_owes_to_targets, with its amount and the note '{note}'",
        f"{count} payments sent",
        receiver_email='debt["email"]',
        amount='debt["amount"]',
        description=quoted(note),
    )


def request_each(source: tuple[str, str, str], amount: str, who: str, count: int, note: str) -> ScriptStep:
    """The sub-task that requests money from each row's ``email``.

    Args:
        source: As of :func:`~prost_lightning.miniworld.scenarios.shapes.write_for_all`.
        amount: The dollars as a Python expression.
        who: Who is asked for how much, in words.
        count: Number of rows.
        note: The requests' description.
    """
    return write_for_all(
        "venmo",
        "create_payment_request",
        source,
        [f"Request from {who} on Venmo, note '{note}'.", f"Send Venmo requests, described as '{note}', to {who}."],
        f"for {who} with the description '{note}'",
        f"{count} requests sent",
        user_email=f'{source[2]}["email"]',
        amount=amount,
        description=quoted(note),
    )


def payment_rows(
    person: Person, payments: list[tuple[Person, float]], note: str
) -> dict[str, list[tuple[object, ...]]]:
    """The rows of ``PAYMENTS_MADE`` for receivers and amounts."""
    return {
        "added venmo.Transaction": [(person.email, other.email, amount, note, None) for other, amount in payments],
        "added venmo.Notification": [(other.email,) for other, _ in payments],
    }


def request_rows(
    person: Person, requests: list[tuple[Person, float]], note: str
) -> dict[str, list[tuple[object, ...]]]:
    """The rows of :data:`MONEY_REQUESTED` for those who are asked and the amounts."""
    return {
        "added venmo.PaymentRequest": [(person.email, other.email, amount, note) for other, amount in requests],
        "added venmo.Notification": [(other.email,) for other, _ in requests],
    }
