"""Venmo: payments, payment requests, friends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.dates import moments
from prost_lightning.miniworld.people import Person

START_BALANCE = 5_000.0
_SENT = 26
_RECEIVED = 26
_PARTNERS = 6
_FRIENDS = 22
_REQUESTS = 9
_COMMENT_SHARE = 0.2


@dataclass(frozen=True)
class Payment:
    """A Venmo transaction; ``amount`` is in whole dollars."""

    id: int
    sender: Person
    receiver: Person
    amount: int
    description: str
    created_at: datetime
    private: bool
    comments: tuple[str, ...]
    liked: bool
    """Liked by the supervisor whose payment it is."""


@dataclass(frozen=True)
class PaymentRequest:
    """A request for money; ``status`` is ``pending``, ``approved`` or ``denied``."""

    id: int
    sender: Person
    receiver: Person
    amount: int
    description: str
    created_at: datetime
    status: str


@dataclass(frozen=True)
class VenmoAccount:
    """What one person has in Venmo; the app lists payments and requests in the order that they have here.

    Attributes:
        payments: Sent and then received ones, each from old to new.
        friends: Friends.
        received_requests: Requests that others sent.
        sent_requests: Requests to others.
    """

    payments: tuple[Payment, ...]
    friends: tuple[Person, ...]
    received_requests: tuple[PaymentRequest, ...]
    sent_requests: tuple[PaymentRequest, ...]

    def sent(self, person: Person) -> tuple[Payment, ...]:
        """The payments that the account's owner sent."""
        return tuple(payment for payment in self.payments if payment.sender is person)

    def received(self, person: Person) -> tuple[Payment, ...]:
        """The payments that the account's owner received."""
        return tuple(payment for payment in self.payments if payment.receiver is person)


def make_account(random: Random, ids: Ids, person: Person, strangers: list[Person]) -> VenmoAccount:
    """Invents what a person has in Venmo.

    Args:
        random: Source of the choices.
        ids: Source of ids.
        person: Whose account it is.
        strangers: Those who are no supervisor, so that nobody's payments are in two supervisors' accounts.
    """
    partners = random.sample(strangers, _PARTNERS)
    payments = []
    dated = [("sent", at) for at in reversed(moments(random, _SENT))]
    dated += [("received", at) for at in reversed(moments(random, _RECEIVED))]
    for direction, created_at in dated:
        partner = random.choice(partners)
        sender, receiver = (person, partner) if direction == "sent" else (partner, person)
        comments = (random.choice(words.MESSAGES),) if random.random() < _COMMENT_SHARE else ()
        payments.append(
            Payment(
                id=ids.next("Transaction"),
                sender=sender,
                receiver=receiver,
                amount=random.randint(5, 80),
                description=random.choice(words.PAYMENTS),
                created_at=created_at,
                private=random.random() < 0.25,
                comments=comments,
                liked=random.random() < 0.2,
            )
        )
    received = _requests(random, ids, person, partners, incoming=True)
    return VenmoAccount(
        payments=tuple(payments),
        friends=tuple(random.sample(strangers, _FRIENDS)),
        received_requests=received,
        sent_requests=_requests(random, ids, person, partners, incoming=False),
    )


def _requests(
    random: Random, ids: Ids, person: Person, partners: list[Person], *, incoming: bool
) -> tuple[PaymentRequest, ...]:
    requests = []
    for created_at in reversed(moments(random, _REQUESTS)):
        partner = random.choice(partners)
        requests.append(
            PaymentRequest(
                id=ids.next("PaymentRequest"),
                sender=partner if incoming else person,
                receiver=person if incoming else partner,
                amount=random.randint(5, 80),
                description=random.choice(words.PAYMENTS),
                created_at=created_at,
                status=random.choice(("pending", "pending", "pending", "approved", "denied")),
            )
        )
    return tuple(requests)
