"""Scenarios about sharing costs in Splitwise with the help of other apps."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.amazon_steps import choose_order, collect_orders, orders_of
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.gmail_steps import collect_inbox, find_amount, newest, read_newest
from prost_lightning.miniworld.scenarios.notes import EMAIL_SENT
from prost_lightning.miniworld.scenarios.periods import random_month
from prost_lightning.miniworld.scenarios.phone import collect_contacts
from prost_lightning.miniworld.scenarios.shapes import write_for_all
from prost_lightning.miniworld.scenarios.shopping import TEXTED
from prost_lightning.miniworld.scenarios.splitwise_steps import (
    EXPENSE_RECORDED,
    OWED,
    OWING,
    claims,
    debts,
    expense_rows,
    find_group,
    read_balance,
    record_expense,
)
from prost_lightning.miniworld.scenarios.steps import login_step, quoted
from prost_lightning.miniworld.scenarios.venmo import PAYMENTS_MADE
from prost_lightning.miniworld.scenarios.venmo_steps import (
    MONEY_REQUESTED,
    pay_each,
    payment_rows,
    request_each,
    request_rows,
)

_OTHERS = '[m for m in group["members"] if m["email"] != profile["email"]]'


@template(2, "venmo", "splitwise", expects=PAYMENTS_MADE)
def venmo_pay_group_debts(world: Contents, person: Person, random: Random) -> Draft | None:
    """Pays on Venmo what the supervisor owes in a group."""
    group, note = random.choice(world.of(person).splitwise.groups), random.choice(words.PAYMENTS)
    owed = debts(group, person)
    if not owed:
        return None
    return Draft(
        [
            f"Pay everybody I owe money in my Splitwise group '{group.name}' that amount on Venmo with the note "
            f"'{note}'. Do not "
            "record anything in Splitwise.",
            f"Send what I owe to each member of the Splitwise group '{group.name}' to them on Venmo, described as "
            f"'{note}'. "
            "Leave Splitwise as it is.",
            f"Pay my debts in the Splitwise group '{group.name}' through Venmo, one payment with the note '{note}' to "
            "each "
            "person, and change nothing in Splitwise.",
        ],
        {"group": group.name, "note": note},
        [
            *(login_step("splitwise"), find_group(group), read_balance(person, group)),
            *(login_step("venmo"), pay_each(OWED, len(owed), note)),
        ],
        rows=payment_rows(person, owed, note),
    )


@template(3, "venmo", "splitwise", expects=MONEY_REQUESTED)
def venmo_request_group_claims(world: Contents, person: Person, random: Random) -> Draft | None:
    """Requests on Venmo what others owe the supervisor in a group, where it is much."""
    group, note = random.choice(world.of(person).splitwise.groups), random.choice(words.PAYMENTS)
    limit = random.randint(6, 60)
    chosen = [(other, amount) for other, amount in claims(group, person) if amount > limit]
    if not chosen:
        return None
    source = (f'[d for d in {OWING} if d["amount"] > {limit}]', "debts", "debt")
    who = f"each member of '{group.name}' who owes more than ${limit}"
    return Draft(
        [
            f"Request on Venmo, from everyone who owes me more than ${limit} in my Splitwise group '{group.name}', the "
            f"amount that they owe me there. Use the note '{note}'.",
            f"Whoever owes me over ${limit} in the Splitwise group '{group.name}' should get a Venmo payment request "
            "for "
            f"all they owe me in this group, described as '{note}'.",
            f"For each member of my Splitwise group '{group.name}' whose debt to me is above ${limit}, create a Venmo "
            f"payment request for the whole debt with the note '{note}'.",
        ],
        {"group": group.name, "limit": limit, "note": note},
        [
            *(login_step("splitwise"), find_group(group), read_balance(person, group)),
            *(login_step("venmo"), request_each(source, 'debt["amount"]', who, len(chosen), note)),
        ],
        rows=request_rows(person, chosen, note),
    )


@template(3, "amazon", "splitwise", challenge=True, expects=EXPENSE_RECORDED)
def amazon_share_order(world: Contents, person: Person, random: Random) -> Draft | None:
    """Shares what an order cost with a group."""
    orders, group = world.of(person).amazon.orders, random.choice(world.of(person).splitwise.groups)
    month, text = random_month(random, [order.created_at for order in orders]), random.choice(words.EXPENSES)
    matches = orders_of(orders, month)
    # Only whole cents a head, so that nobody's way of rounding matters.
    if month is None or not matches or round(matches[0].paid * 100) % len(group.members):
        return None
    cost = matches[0].paid
    return Draft(
        [
            f"Record what I paid for the last Amazon order that I placed {month.said} as the expense '{text}' in my "
            "Splitwise "
            f"group '{group.name}', in equal parts for all members, me included.",
            f"Record the paid amount of the newest Amazon order that I placed {month.said} in the Splitwise group "
            f"'{group.name}' as '{text}', paid by me, split equally among all members with me.",
            f"What I paid for my most recent Amazon order placed {month.said} is an expense '{text}' of my Splitwise "
            "group "
            f"'{group.name}', owed in equal shares by everybody with me. Record it.",
        ],
        {"group": group.name, "month": month.said, "description": text},
        [
            *(login_step("amazon"), collect_orders(orders), choose_order(matches[0], month)),
            *(login_step("splitwise"), find_group(group), record_expense(group, text, "cost", str(cost))),
        ],
        rows=expense_rows(person, group, text, cost),
    )


@template(3, "amazon", "splitwise", "venmo", challenge=True, expects=[*EXPENSE_RECORDED, *MONEY_REQUESTED])
def amazon_share_order_request(world: Contents, person: Person, random: Random) -> Draft | None:
    """Shares what an order cost with a group, and requests the shares."""
    orders, group = world.of(person).amazon.orders, random.choice(world.of(person).splitwise.groups)
    month, note = random_month(random, [order.created_at for order in orders]), random.choice(words.PAYMENTS)
    matches, size = orders_of(orders, month), len(group.members)
    if month is None or not matches or round(matches[0].paid * 100) % size:
        return None
    cost, source = matches[0].paid, (_OTHERS, "others", "member")
    ask = request_each(source, f"cost / {size}", f"each other member one of {size} shares", size - 1, note)
    return Draft(
        [
            f"Record what I paid for the last Amazon order placed {month.said} in my Splitwise group '{group.name}' "
            f"as '{note}', "
            f"equal parts for all with me. Request each other member's part on Venmo, note '{note}'.",
            f"Record the paid amount of my newest Amazon order of those placed {month.said} in Splitwise group "
            f"'{group.name}' as "
            f"'{note}', equal shares with me, and send the others Venmo requests for their shares, note '{note}'.",
            f"My last Amazon order placed {month.said} is an expense '{note}' of my Splitwise group '{group.name}', "
            "equal shares "
            f"for all with me: record it. Request the others' shares on Venmo, note '{note}'.",
        ],
        {"group": group.name, "month": month.said, "note": note},
        [
            *(login_step("amazon"), collect_orders(orders), choose_order(matches[0], month)),
            *(login_step("splitwise"), find_group(group), record_expense(group, note, "cost", str(cost))),
            *(login_step("venmo"), ask),
        ],
        rows={
            **expense_rows(person, group, note, cost),
            **request_rows(person, [(other, cost / size) for other in group.members if other is not person], note),
        },
    )


@template(2, "gmail", "splitwise", challenge=True, expects=EXPENSE_RECORDED)
def gmail_share_bill(world: Contents, person: Person, random: Random) -> Draft | None:
    """Shares a bill from an email with a group."""
    account, group = world.of(person).gmail, random.choice(world.of(person).splitwise.groups)
    thread = newest(account, random.choice(account.inbox).subject)
    if thread.kind != "bill" or not beyond_first_page(account.inbox, [thread]):
        return None
    subject, text = thread.subject, random.choice(words.EXPENSES)
    return Draft(
        [
            f"I paid the bill in the newest thread '{subject}' of my Gmail inbox. Record it in my Splitwise group "
            f"'{group.name}' as '{text}', shared equally by all members, me included.",
            f"Add the amount of the last created thread '{subject}' in my Gmail inbox to the Splitwise group "
            f"'{group.name}' as "
            f"expense '{text}' that I paid, in equal parts for all including me.",
            f"Record the bill of the most recently created thread '{subject}' in my Gmail inbox in my Splitwise group "
            f"'{group.name}' as '{text}', paid by me, split equally among all members with me.",
        ],
        {"group": group.name, "subject": subject, "description": text},
        [
            *(login_step("gmail"), collect_inbox(account), read_newest(thread), find_amount(thread)),
            *(login_step("splitwise"), find_group(group), record_expense(group, text, "amount", str(thread.amount))),
        ],
        rows=expense_rows(person, group, text, thread.amount),
    )


@template(3, "gmail", "splitwise", "venmo", challenge=True, expects=[*EXPENSE_RECORDED, *MONEY_REQUESTED])
def gmail_share_bill_request(world: Contents, person: Person, random: Random) -> Draft | None:
    """Shares a bill from an email with a group, and requests the shares."""
    account, group = world.of(person).gmail, random.choice(world.of(person).splitwise.groups)
    thread, note = newest(account, random.choice(account.inbox).subject), random.choice(words.PAYMENTS)
    if thread.kind != "bill" or not beyond_first_page(account.inbox, [thread]):
        return None
    text, size = thread.subject, len(group.members)
    who = f"each other member one of {size} shares"
    ask = request_each((_OTHERS, "others", "member"), f"amount / {size}", who, size - 1, note)
    return Draft(
        [
            f"Record the bill of the newest thread '{text}' in my Gmail inbox in my Splitwise group '{group.name}' as "
            f"'{text}', "
            f"paid by me, equal shares with me. Request each other's share on Venmo, note '{note}'.",
            f"Add the bill of the last created thread '{text}' in my Gmail inbox to Splitwise group '{group.name}' as "
            f"'{text}', "
            f"paid by me, equal parts with me. Send the others Venmo requests for theirs, note '{note}'.",
            f"I paid the bill of the last created Gmail inbox thread '{text}'. Record it as '{text}' in Splitwise "
            "group "
            f"'{group.name}', equal shares with me; request the others' shares on Venmo, note '{note}'.",
        ],
        {"group": group.name, "subject": text, "note": note},
        [
            *(login_step("gmail"), collect_inbox(account), read_newest(thread), find_amount(thread)),
            *(login_step("splitwise"), find_group(group), record_expense(group, text, "amount", str(thread.amount))),
            *(login_step("venmo"), ask),
        ],
        rows={
            **expense_rows(person, group, text, thread.amount),
            **request_rows(person, [(o, thread.amount / size) for o in group.members if o is not person], note),
        },
    )


@template(2, "gmail", "splitwise", challenge=True, expects=EMAIL_SENT)
def gmail_remind_debtors(world: Contents, person: Person, random: Random) -> Draft | None:
    """Emails all who owe the supervisor in a group."""
    group, text = random.choice(world.of(person).splitwise.groups), random.choice(words.MESSAGES)
    owing, name = claims(group, person), group.name
    if not owing:
        return None
    send = write_for_all(
        "gmail",
        "send_email",
        (OWING, "debts", "debt"),
        [
            f"Email each member who owes money in '{name}': subject '{name}', text '{text}'.",
            f"Send '{text}' with the subject '{name}' to every member who owes money, one email each.",
        ],
        f"for each row of targets_owe_to_source with subject '{name}' and body '{text}'",
        f"{len(owing)} emails sent",
        email_addresses='[debt["email"]]',
        subject=quoted(name),
        body=quoted(text),
    )
    return Draft(
        [
            f"Send each person who owes me money in my Splitwise group '{name}' an email of their own with the subject "
            f"'{name}' and the text '{text}'.",
            f"Everyone who owes me something in the Splitwise group '{name}' should get a separate email, subject "
            f"'{name}', that says '{text}'.",
            f"Write '{text}' by Gmail, subject '{name}', to every member of my Splitwise group '{name}' who owes me "
            "money there, one email a person.",
        ],
        {"group": name, "message": text},
        [login_step("splitwise"), find_group(group), read_balance(person, group), login_step("gmail"), send],
        rows={"added gmail.Email": [(person.email, [other.email], name, text) for other, _ in owing]},
    )


@template(3, "phone", "splitwise", "venmo", expects=[*PAYMENTS_MADE, *TEXTED])
def pay_group_debts_and_text(world: Contents, person: Person, random: Random) -> Draft | None:
    """Pays on Venmo what the supervisor owes in a group, and texts those who got it."""
    group, note = random.choice(world.of(person).splitwise.groups), random.choice(words.PAYMENTS)
    text, contacts = random.choice(words.MESSAGES), world.of(person).phone.contacts
    owed, known = debts(group, person), [contact.person for contact in contacts]
    if not owed or any(other not in known for other, _ in owed):
        return None
    inform = write_for_all(
        "phone",
        "send_text_message",
        ('[c for c in contacts if c["email"] in [debt["email"] for debt in debts]]', "receivers", "contact"),
        [f"Text '{text}' to the contact of each person who was paid.", f"Send each person paid the text '{text}'."],
        f"with '{text}' for each contact whose email is in debts",
        f"{len(owed)} messages sent",
        phone_number='contact["phone_number"]',
        message=quoted(text),
    )
    return Draft(
        [
            f"Pay everybody I owe in my Splitwise group '{group.name}' that amount on Venmo, note '{note}', and text "
            "each, from "
            f"my phone contacts, '{text}'. Leave Splitwise as it is.",
            f"Send each member I owe in Splitwise group '{group.name}' the amount on Venmo, note '{note}', and the "
            "text message "
            f"'{text}' by phone contact. Change nothing in Splitwise.",
            f"Pay my debts in Splitwise group '{group.name}' through Venmo, note '{note}', and text every person "
            "paid, from my "
            f"phone contacts, '{text}'. Record nothing in Splitwise.",
        ],
        {"group": group.name, "note": note, "message": text},
        [
            *(login_step("splitwise"), find_group(group), read_balance(person, group)),
            *(login_step("venmo"), pay_each(OWED, len(owed), note)),
            *(login_step("phone"), collect_contacts(contacts), inform),
        ],
        rows=payment_rows(person, owed, note)
        | {"added phone.GlobalTextMessage": [(person.phone_number, o.phone_number, text) for o, _ in owed]},
    )
