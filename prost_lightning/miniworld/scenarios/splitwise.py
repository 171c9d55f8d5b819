"""Scenarios about Splitwise alone."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.expectations import added, updated
from prost_lightning.miniworld.scenarios.periods import random_month, random_year
from prost_lightning.miniworld.scenarios.shapes import compute_from, needs_all_pages, write_for_all
from prost_lightning.miniworld.scenarios.splitwise_steps import (
    EXPENSE_RECORDED,
    GROUP_ID,
    OWED,
    OWING,
    claims,
    collect_expenses,
    debts,
    expense_rows,
    find_group,
    read_balance,
    record_expense,
)
from prost_lightning.miniworld.scenarios.steps import login_step, quoted, step, write_each

_CREATED = 'e["created_at"]'


@template(1, "splitwise")
def splitwise_paid_by_member(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for what a member paid for a group in a year."""
    group = random.choice(world.of(person).splitwise.groups)
    payer, year = random.choice(group.members[1:]), random_year(random, [e.created_at for e in group.expenses])
    paid = [expense for expense in group.expenses if expense.payer is payer]
    total = float(sum(expense.amount for expense in paid if year and year.holds(expense.created_at)))
    if (
        year is None
        or not 0 < total < sum(expense.amount for expense in paid)
        or not needs_all_pages(
            group.expenses, lambda some: [e for e in some if e.payer is payer and year.holds(e.created_at)]
        )
    ):
        return None
    compute = compute_from(
        "splitwise",
        "expenses",
        f'e["payer"]["name"] == {quoted(payer.name)} and {year.condition(_CREATED)}',
        'sum(e["paid_amount"] for e in matches)',
        [
            f"Add up the expenses of {year.iso} that {payer.name} paid.",
            f"Print the total amount that {payer.name} paid for expenses of {year.iso}.",
        ],
        f"keep the expenses of {year.iso} whose payer is {payer.name}, sum their paid_amount",
        str(total),
        year.wrong(_CREATED),
    )
    return Draft(
        [
            f"How much did {payer.name} pay for expenses of my Splitwise group '{group.name}' {year.said}?",
            f"What do the expenses add up to that {payer.name} paid in the Splitwise group '{group.name}' {year.said}?",
            f"In my Splitwise group '{group.name}', what is the total of the expenses paid by {payer.name} "
            f"{year.said}?",
        ],
        {"group": group.name, "payer": payer.name, "year": year.said},
        [login_step("splitwise"), find_group(group), collect_expenses(group), compute],
        answer=total,
    )


@template(1, "splitwise")
def splitwise_extreme_expense(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks what the largest or smallest expense of a group in a month was for."""
    group, extreme = random.choice(world.of(person).splitwise.groups), random.choice(("largest", "smallest"))
    month = random_month(random, [expense.created_at for expense in group.expenses])
    matches = [expense for expense in group.expenses if month and month.holds(expense.created_at)]
    matches.sort(key=lambda expense: expense.amount)
    if month is None or len(matches) < 2 or len({expense.amount for expense in matches}) < len(matches):
        return None
    if matches[0].description == matches[-1].description:
        return None
    function, right = ("max", matches[-1]) if extreme == "largest" else ("min", matches[0])
    if not needs_all_pages(group.expenses, lambda some: right in some):
        return None
    compute = compute_from(
        "splitwise",
        "expenses",
        month.condition(_CREATED),
        f'{function}(matches, key=lambda e: e["paid_amount"])["description"]',
        [
            f"Find the description of the {extreme} expense of {month.iso}.",
            f"Print what the {extreme} expense created in {month.iso} was for.",
        ],
        f"keep the expenses created in {month.iso}, take the {extreme} by paid_amount, print its description",
        right.description,
    )
    name = group.name
    return Draft(
        [
            f"What is the description of the {extreme} expense of my Splitwise group '{name}' {month.said}?",
            f"Which was the {extreme} expense that the Splitwise group '{name}' had {month.said}? Give its "
            "description.",
            f"I need the description of the {extreme} of all expenses of my Splitwise group '{name}' {month.said}.",
        ],
        {"group": name, "month": month.said, "extreme": extreme},
        [login_step("splitwise"), find_group(group), collect_expenses(group), compute],
        answer=right.description,
    )


@template(1, "splitwise", expects=EXPENSE_RECORDED)
def splitwise_record_expense(world: Contents, person: Person, random: Random) -> Draft | None:
    """Records an expense for a whole group."""
    group = random.choice(world.of(person).splitwise.groups)
    description, amount = random.choice(words.EXPENSES), float(len(group.members) * random.randint(4, 60))
    return Draft(
        [
            f"I paid ${amount:.0f} for '{description}'. Record it as an expense of my Splitwise group '{group.name}', "
            "shared equally by all members, me included.",
            f"Add the expense '{description}' to my Splitwise group '{group.name}': I paid ${amount:.0f}, and "
            "everybody "
            "in the group, including me, owes an equal share.",
            f"My Splitwise group '{group.name}' needs a new expense '{description}' of ${amount:.0f}, paid by me and "
            "split in equal parts among all members including myself.",
        ],
        {"group": group.name, "description": description, "amount": int(amount)},
        [login_step("splitwise"), find_group(group), record_expense(group, description, str(amount), str(amount))],
        rows=expense_rows(person, group, description, amount),
    )


_DELETED = (updated("splitwise.Expense", "id", only=["deleted"]), added("splitwise.Notification", "user.email"))


@template(2, "splitwise", challenge=True, expects=_DELETED)
def splitwise_delete_expenses(world: Contents, person: Person, random: Random) -> Draft | None:
    """Deletes the expenses that somebody paid in a month."""
    group = random.choice(world.of(person).splitwise.groups)
    payer, month = random.choice(group.members), random_month(random, [e.created_at for e in group.expenses])
    chosen = [e for e in group.expenses if e.payer is payer and month and month.holds(e.created_at)]
    if month is None or not 1 <= len(chosen) <= 6:
        return None
    condition = f'e["payer"]["name"] == {quoted(payer.name)} and {month.condition(_CREATED)}'
    delete = write_each(
        "splitwise",
        "delete_expense",
        "expenses",
        "expense",
        (condition, f"payer {payer.name} that were created in {month.iso}"),
        [
            f"Delete the expenses of {month.iso} that {payer.name} paid.",
            f"Delete every expense paid by {payer.name} and created in {month.iso}.",
        ],
        f"{len(chosen)} expenses deleted",
        expense_id='expense["expense_id"]',
    )
    whose = "I" if payer is person else payer.name
    others = [(member.email,) for member in group.members if member is not person]
    return Draft(
        [
            f"Delete the expenses of my Splitwise group '{group.name}' that {whose} paid {month.said}.",
            f"In the Splitwise group '{group.name}', delete all expenses that {whose} paid {month.said}.",
            f"Remove from my Splitwise group '{group.name}' every expense that {whose} paid {month.said}.",
        ],
        {"group": group.name, "payer": whose, "month": month.said},
        [login_step("splitwise"), find_group(group), collect_expenses(group), delete],
        rows={
            "updated splitwise.Expense": [(expense.id,) for expense in chosen],
            "added splitwise.Notification": others * len(chosen),
        },
    )


@template(2, "splitwise")
def splitwise_debt(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks how much a member owes the supervisor, or the other way round."""
    group = random.choice(world.of(person).splitwise.groups)
    other = random.choice(group.members[1:])
    debt = float(group.debt(person, other))
    if debt > 0:
        rows, said, asked = OWED, f"{person.email} owes {other.email}", f"do I owe {other.name}"
    else:
        rows, said, asked = OWING, f"{other.email} owes {person.email}", f"does {other.name} owe me"
    amounts = [amount for _, amount in (debts if debt > 0 else claims)(group, person)]
    if not debt or len(set(amounts)) < len(amounts):
        return None
    compute = step(
        "compute",
        "splitwise",
        [f"Find how much {said} in the balance.", f"Print the amount that {said}, from the balance."],
        f"take the row of {other.email} in the breakdown, print its amount",
        [f'print([b["amount"] for b in {rows} if b["email"] == {quoted(other.email)}][0])'],
        str(abs(debt)),
    )
    return Draft(
        [
            f"How much money {asked} in my Splitwise group '{group.name}'?",
            f"By the balances of my Splitwise group '{group.name}', how many dollars {asked}?",
            f"What sum {asked} in the Splitwise group '{group.name}', all expenses and payments considered?",
        ],
        {"group": group.name, "person": other.name},
        [login_step("splitwise"), find_group(group), read_balance(person, group), compute],
        answer=abs(debt),
    )


_SETTLED = (
    added("splitwise.Payment", "payer.email", "receiver.email", "amount", "group.name", "description"),
    added("splitwise.Notification", "user.email"),
)


@template(2, "splitwise", expects=_SETTLED)
def splitwise_settle_group(world: Contents, person: Person, random: Random) -> Draft | None:
    """Records that the supervisor has paid all debts in a group."""
    group, text = random.choice(world.of(person).splitwise.groups), random.choice(words.PAYMENTS)
    owed = debts(group, person)
    if not owed:
        return None
    settle = write_for_all(
        "splitwise",
        "record_payment",
        (OWED, "debts", "debt"),
        [
            f"Record a payment of the amount owed to each of them in '{group.name}', described as '{text}'.",
            f"For every member to whom money is owed, record in '{group.name}' that it was paid: '{text}'.",
        ],
        f"for each row of source_owes_to_targets, with its amount and '{text}'",
        f"{len(owed)} payments recorded",
        payer_email='profile["email"]',
        receiver_email='debt["email"]',
        amount='debt["amount"]',
        description=quoted(text),
        group_id=GROUP_ID,
    )
    return Draft(
        [
            f"Record in my Splitwise group '{group.name}' that I paid all I owe: one payment to each, called '{text}'.",
            f"In the Splitwise group '{group.name}', record a payment '{text}' of what I owe to each member I owe.",
            f"I paid my debts in the Splitwise group '{group.name}'. Record it: a payment '{text}' to each I owe.",
        ],
        {"group": group.name, "description": text},
        [login_step("splitwise"), find_group(group), read_balance(person, group), settle],
        rows={
            "added splitwise.Payment": [(person.email, o.email, amount, group.name, text) for o, amount in owed],
            "added splitwise.Notification": [(other.email,) for other, _ in owed],
        },
    )
