"""Sub-tasks on Splitwise that several scenarios share."""

from __future__ import annotations

from prost_lightning.miniworld.apps.splitwise import Group
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.expectations import added
from prost_lightning.miniworld.scenarios.steps import call, collect_step, quoted, step
from prost_lightning.miniworld.script import ScriptStep

EXPENSE_RECORDED = (
    added("splitwise.Expense", "description", "amount", "payer.email", "group.name", "user.email"),
    added("splitwise.ExpenseShare", "expense.description", "debtor.email", "share_amount"),
    added("splitwise.Notification", "user.email"),
)
"""What recording an expense changes."""

OWED = 'balance["source_owes_to_targets"]["breakdown"]'
"""The rows of ``balance`` about those to whom the supervisor owes money."""

OWING = 'balance["targets_owe_to_source"]["breakdown"]'
"""The rows of ``balance`` about those who owe the supervisor money."""

GROUP_ID = 'group["group_id"]'


def find_group(group: Group) -> ScriptStep:
    """The sub-task that leaves a group in ``group``."""
    return step(
        "read",
        "splitwise",
        [f"Find the Splitwise group '{group.name}'.", f"Get the Splitwise group named exactly '{group.name}'."],
        f"call show_groups, keep the one named exactly '{group.name}' in group",
        [
            "groups = " + call("splitwise", "show_groups"),
            f'group = [g for g in groups if g["name"] == {quoted(group.name)}][0]',
            'print(group["name"], "has", len(group["members"]), "members")',
        ],
        f"{group.name} has {len(group.members)} members",
    )


def collect_expenses(group: Group) -> ScriptStep:
    """The sub-task that leaves all expenses of the group in ``expenses``."""
    what, count = f"expenses of the Splitwise group '{group.name}'", len(group.expenses)
    return collect_step("splitwise", "show_group_expenses", "expenses", count, what, group_id=GROUP_ID)


def debts(group: Group, person: Person) -> list[tuple[Person, float]]:
    """To whom somebody owes money in a group, and how many dollars."""
    owed = [(other, float(group.debt(person, other))) for other in group.members]
    return [(other, amount) for other, amount in owed if amount > 0]


def claims(group: Group, person: Person) -> list[tuple[Person, float]]:
    """Who owes somebody money in a group, and how many dollars."""
    owing = [(other, float(group.debt(other, person))) for other in group.members]
    return [(other, amount) for other, amount in owing if amount > 0]


def read_balance(person: Person, group: Group) -> ScriptStep:
    """The sub-task that leaves what the person owes and is owed in the group in ``balance``."""
    return step(
        "read",
        "splitwise",
        [
            f"Get the balance of {person.email} in the group '{group.name}'.",
            f"Find out whom {person.email} owes money in the Splitwise group '{group.name}', and who owes them.",
        ],
        f"call show_group_balance for the group with email {person.email}, keep its row in balance",
        [
            f"balance = {call('splitwise', 'show_group_balance', group_id=GROUP_ID, email=quoted(person.email))}[0]",
            f'print("money is owed to", len({OWED}), "members")',
        ],
        f"money is owed to {len(debts(group, person))} members",
    )


def record_expense(group: Group, description: str, amount: str, result: str) -> ScriptStep:
    """The sub-task that records what the supervisor paid for all of the group in equal shares.

    Args:
        group: The group, in ``group``.
        description: What it was.
        amount: What it cost, as a Python expression.
        result: What it cost, as it is printed.
    """
    record = call(
        "splitwise",
        "record_expense",
        description=quoted(description),
        paid_amount=amount,
        payer_email='profile["email"]',
        debtor_emails="emails",
        group_id=GROUP_ID,
    )
    return step(
        "write",
        "splitwise",
        [
            f"Record the expense '{description}' of ${result} in '{group.name}', paid by me, shared equally by all.",
            f"Add an expense of ${result} for '{description}' to '{group.name}' that I paid, split among all members.",
        ],
        "call record_expense with the payer's email, the group_id and the emails of all members, the payer included",
        ['emails = [m["email"] for m in group["members"]]', record, f'print("recorded", {amount})'],
        f"recorded {result}",
    )


def expense_rows(person: Person, group: Group, description: str, amount: float) -> dict[str, list[tuple[object, ...]]]:
    """The rows of :data:`EXPENSE_RECORDED` for what the supervisor paid for all of the group in equal shares."""
    return {
        "added splitwise.Expense": [(description, amount, person.email, group.name, person.email)],
        "added splitwise.ExpenseShare": [(description, m.email, amount / len(group.members)) for m in group.members],
        "added splitwise.Notification": [(member.email,) for member in group.members if member is not person],
    }
