"""Splitwise: groups, expenses, payments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.dates import moments
from prost_lightning.miniworld.people import Person

_GROUPS = 3
_MEMBERS = 3
_FIRST_GROUP_EXPENSES = 46
_OTHER_GROUP_EXPENSES = 8
_LOOSE_EXPENSES = 8
_PAYMENTS = 3


@dataclass(frozen=True)
class Expense:
    """Money that one person paid for several.

    Attributes:
        group: Name of the group, None where it belongs to none.
        payer: Who paid.
        amount: What the payer paid, in whole dollars.
        shares: What each participant, the payer included, owes of it, in whole dollars; they add up to ``amount``.
    """

    id: int
    group: str | None
    payer: Person
    amount: int
    shares: tuple[tuple[Person, int], ...]
    description: str
    created_at: datetime

    def share(self, person: Person) -> int:
        """What a person owes of it."""
        return sum(amount for debtor, amount in self.shares if debtor is person)


@dataclass(frozen=True)
class SettlingPayment:
    """Money that one member of a group gave back to another, in whole dollars."""

    id: int
    group: str
    payer: Person
    receiver: Person
    amount: int
    description: str
    created_at: datetime


@dataclass(frozen=True)
class Group:
    """A group that a supervisor has made; expenses and payments are newest first, as the app lists them."""

    id: int
    name: str
    members: tuple[Person, ...]
    expenses: tuple[Expense, ...]
    payments: tuple[SettlingPayment, ...]
    created_at: datetime

    def balance(self, person: Person) -> int:
        """What the others owe a person in all, in dollars; negative where the person owes."""
        paid = sum(expense.amount for expense in self.expenses if expense.payer is person)
        owed = sum(expense.share(person) for expense in self.expenses)
        given = sum(payment.amount for payment in self.payments if payment.payer is person)
        taken = sum(payment.amount for payment in self.payments if payment.receiver is person)
        return paid - owed + given - taken

    def debt(self, debtor: Person, creditor: Person) -> int:
        """What one member owes another, in dollars; negative where it is the other way round."""
        owed = sum(expense.share(debtor) for expense in self.expenses if expense.payer is creditor)
        owed -= sum(expense.share(creditor) for expense in self.expenses if expense.payer is debtor)
        paid = sum(p.amount for p in self.payments if p.payer is debtor and p.receiver is creditor)
        returned = sum(p.amount for p in self.payments if p.payer is creditor and p.receiver is debtor)
        return owed - paid + returned


@dataclass(frozen=True)
class SplitwiseAccount:
    """What one person has in Splitwise: groups, and expenses with a friend outside of any group."""

    groups: tuple[Group, ...]
    loose_expenses: tuple[Expense, ...]


def make_account(random: Random, ids: Ids, person: Person, strangers: list[Person]) -> SplitwiseAccount:
    """Invents what a person has in Splitwise.

    Args:
        random: Source of the choices.
        ids: Source of ids.
        person: Whose account it is.
        strangers: Those who are no supervisor; only they share expenses with the person.
    """
    names = random.sample(words.GROUPS, _GROUPS - 1)
    names.append(f"{names[0]} 2022")
    groups = []
    for place, (name, created_at) in enumerate(zip(names, moments(random, _GROUPS), strict=True)):
        members = (person, *random.sample(strangers, _MEMBERS))
        count = _OTHER_GROUP_EXPENSES if place else _FIRST_GROUP_EXPENSES
        groups.append(_make_group(random, ids, name, members, count, created_at))
    friends = random.sample(strangers, 2)
    loose = tuple(
        _make_expense(random, ids, None, (person, random.choice(friends)), at)
        for at in moments(random, _LOOSE_EXPENSES)
    )
    return SplitwiseAccount(tuple(groups), loose)


def _make_group(
    random: Random, ids: Ids, name: str, members: tuple[Person, ...], count: int, created_at: datetime
) -> Group:
    group_id = ids.next("Group")
    expenses = tuple(_make_expense(random, ids, name, members, at) for at in moments(random, count))
    payments = []
    for at in moments(random, _PAYMENTS):
        payer, receiver = random.sample(members, 2)
        payments.append(
            SettlingPayment(
                ids.next("Payment"), name, payer, receiver, random.randint(5, 40), random.choice(words.PAYMENTS), at
            )
        )
    return Group(group_id, name, members, expenses, tuple(payments), created_at)


def _make_expense(
    random: Random, ids: Ids, group: str | None, members: tuple[Person, ...], created_at: datetime
) -> Expense:
    share = random.randint(3, 40)
    return Expense(
        id=ids.next("Expense"),
        group=group,
        payer=random.choice(members),
        amount=share * len(members),
        shares=tuple((member, share) for member in members),
        description=random.choice(words.EXPENSES),
        created_at=created_at,
    )
