"""Writes Splitwise."""

from __future__ import annotations

from prost_lightning.miniworld.apps.splitwise import Expense
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.writers.tables import SEARCH, Row, Tables


def write_splitwise(tables: Tables, contents: Contents) -> None:
    """Writes groups, expenses and payments."""
    groups = [(person, group) for person in contents.supervisors for group in contents.of(person).splitwise.groups]
    tables.save(
        "Group",
        [
            {
                "user_id": person.id,
                "name": group.name,
                "description": f"Expenses of {group.name}",
                "created_at": group.created_at,
                "invitation_code": f"{group.id:05d}",
            }
            for person, group in groups
        ],
    )
    tables.save(
        "GroupMember",
        [
            {"group_id": group.id, "user_id": member.id, "joined_at": group.created_at}
            for _, group in groups
            for member in group.members
        ],
    )
    expenses: list[tuple[Person, int | None, Expense]] = []
    for person in contents.supervisors:
        account = contents.of(person).splitwise
        for group in account.groups:
            expenses.extend((person, group.id, expense) for expense in group.expenses)
        expenses.extend((person, None, expense) for expense in account.loose_expenses)
    _write_expenses(tables, expenses)
    tables.save(
        "Payment",
        [
            {
                "group_id": group.id,
                "user_id": payment.payer.id,
                "payer_id": payment.payer.id,
                "receiver_id": payment.receiver.id,
                "participant_ids": [payment.payer.id, payment.receiver.id],
                "payer_name": payment.payer.name,
                "payer_email": payment.payer.email,
                "receiver_name": payment.receiver.name,
                "receiver_email": payment.receiver.email,
                "amount": float(payment.amount),
                "description": payment.description,
                "created_at": payment.created_at,
                SEARCH: " ".join(
                    [
                        payment.description,
                        payment.payer.name,
                        payment.receiver.name,
                        payment.payer.email,
                        payment.receiver.email,
                    ]
                ),
            }
            for _, group in groups
            for payment in group.payments
        ],
    )


def _write_expenses(tables: Tables, expenses: list[tuple[Person, int | None, Expense]]) -> None:
    rows: list[Row] = []
    shares: list[Row] = []
    for person, group_id, expense in expenses:
        rows.append(
            {
                "user_id": person.id,
                "group_id": group_id,
                "payer_id": expense.payer.id,
                "debtor_ids": [debtor.id for debtor, _ in expense.shares],
                "participant_ids": [expense.payer.id, *(debtor.id for debtor, _ in expense.shares)],
                "description": expense.description,
                "amount": float(expense.amount),
                "created_at": expense.created_at,
                SEARCH: " ".join(
                    [
                        expense.description,
                        expense.payer.name,
                        expense.payer.email,
                        *(f"{debtor.name} {debtor.email}" for debtor, _ in expense.shares),
                    ]
                ),
            }
        )
        shares.extend(
            {
                "expense_id": expense.id,
                "debtor_id": debtor.id,
                "share_amount": float(amount),
                "created_at": expense.created_at,
            }
            for debtor, amount in expense.shares
        )
    tables.save("Expense", rows)
    tables.save("ExpenseShare", shares)
