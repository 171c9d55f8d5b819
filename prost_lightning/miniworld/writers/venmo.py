"""Writes Venmo."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.writers.tables import SEARCH, Row, Tables, ago, stamped


def write_venmo(tables: Tables, contents: Contents) -> None:
    """Writes cards, friends, payments and requests."""
    tables.save(
        "PaymentCard", [{"user_id": person.id, **asdict(card)} for person in contents.people for card in person.cards]
    )
    accounts = [(person, contents.of(person).venmo) for person in contents.supervisors]
    tables.save(
        "Friendship",
        [
            {"user_id": one.id, "friend_id": other.id, "created_at": ago(200 - place)}
            for person, account in accounts
            for place, friend in enumerate(account.friends)
            for one, other in ((person, friend), (friend, person))
        ],
    )
    payments = [(person, payment) for person, account in accounts for payment in account.payments]
    tables.save(
        "Transaction",
        [
            {
                "sender_id": payment.sender.id,
                "receiver_id": payment.receiver.id,
                "amount": float(payment.amount),
                "description": payment.description,
                "private": payment.private,
                "like_count": int(payment.liked),
                **stamped(payment.created_at),
                SEARCH: " ".join(
                    [
                        payment.description,
                        payment.sender.name,
                        payment.receiver.name,
                        payment.sender.email,
                        payment.receiver.email,
                    ]
                ),
            }
            for _, payment in payments
        ],
    )
    tables.save(
        "TransactionComment",
        [
            {
                "transaction_id": payment.id,
                "user_id": payment.receiver.id,
                "comment": comment,
                "created_at": payment.created_at + timedelta(minutes=5),
            }
            for _, payment in payments
            for comment in payment.comments
        ],
    )
    tables.save(
        "TransactionLike",
        [
            {
                "transaction_id": payment.id,
                "user_id": person.id,
                "created_at": payment.created_at + timedelta(minutes=7),
            }
            for person, payment in payments
            if payment.liked
        ],
    )
    rows: list[Row] = []
    for _, account in accounts:
        for request in (*account.received_requests, *account.sent_requests):
            answered = {"approved": "approved_at", "denied": "denied_at"}.get(request.status)
            rows.append(
                {
                    "sender_id": request.sender.id,
                    "receiver_id": request.receiver.id,
                    "amount": float(request.amount),
                    "description": request.description,
                    **stamped(request.created_at),
                    **({answered: request.created_at + timedelta(minutes=30)} if answered else {}),
                }
            )
    tables.save("PaymentRequest", rows)
