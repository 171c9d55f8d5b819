"""Scenarios about Gmail alone."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.expectations import added, side, updated
from prost_lightning.miniworld.scenarios.gmail_steps import (
    CREATED,
    NEWEST_ID,
    THREAD_ANSWERED,
    collect_inbox,
    newest,
    participates,
    read_newest,
    reply,
)
from prost_lightning.miniworld.scenarios.periods import Period, random_year
from prost_lightning.miniworld.scenarios.shapes import compute_from, write_once
from prost_lightning.miniworld.scenarios.steps import call, for_each, keep, login_step, quoted, step, write_each
from prost_lightning.miniworld.script import ScriptStep

_THREAD_ID = 'thread["email_thread_id"]'
_MARKS = (("unread", 'not t["read"]'), ("starred", 't["starred"]'))


@template(1, "gmail")
def gmail_count_threads(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for the number of unread or starred threads with somebody."""
    inbox, (said, condition) = world.of(person).gmail.inbox, random.choice(_MARKS)
    other = random.choice(inbox).other
    matches = [thread for thread in inbox if thread.other is other]
    marked = [thread for thread in matches if (thread.starred if said == "starred" else not thread.read)]
    if len(marked) == len(matches) or not beyond_first_page(inbox, marked):
        return None
    compute = compute_from(
        "gmail",
        "threads",
        f"{condition} and {participates(other)}",
        "len(matches)",
        [f"Count the {said} threads with {other.email}.", f"Print how many threads with {other.email} are {said}."],
        f"keep the {said} threads that have {other.email} among the participants, count them",
        str(len(marked)),
        (f"{condition} and ", "", f"All threads with that person are counted; keep those that are {said}."),
    )
    return Draft(
        [
            f"How many {said} email threads with {other.name} ({other.email}) are in my Gmail inbox?",
            f"Count the {said} threads in my Gmail inbox that {other.name} ({other.email}) takes part in.",
            f"Of the threads in my Gmail inbox with {other.name} ({other.email}), how many are {said}?",
        ],
        {"email": other.email, "mark": said},
        [login_step("gmail"), collect_inbox(world.of(person).gmail), compute],
        answer=len(marked),
    )


@template(1, "gmail", expects=[updated("gmail.UserEmailThread", "id", "user.email", only=["starred"])])
def gmail_star_threads(world: Contents, person: Person, random: Random) -> Draft | None:
    """Stars all threads with somebody."""
    inbox = world.of(person).gmail.inbox
    other = random.choice(inbox).other
    chosen = [thread for thread in inbox if thread.other is other and not thread.starred]
    if not 2 <= len(chosen) <= 8 or not beyond_first_page(inbox, chosen):
        return None
    star = write_each(
        "gmail",
        "mark_thread_starred",
        "threads",
        "thread",
        (f'not t["starred"] and {participates(other)}', f"no star and {other.email} among the participants"),
        [f"Star every thread with {other.email} that has no star yet.", f"Star the other threads with {other.email}."],
        f"{len(chosen)} threads starred",
        email_thread_id=_THREAD_ID,
    )
    return Draft(
        [
            f"Star all email threads with {other.name} ({other.email}) in my Gmail inbox that are not starred yet.",
            f"In my Gmail inbox, star each thread that {other.name} ({other.email}) takes part in and that has no "
            "star.",
            f"Every thread of my Gmail inbox with {other.name} ({other.email}) should be starred in the end.",
        ],
        {"email": other.email},
        [login_step("gmail"), collect_inbox(world.of(person).gmail), star],
        rows={"updated gmail.UserEmailThread": [(thread.id, person.email) for thread in chosen]},
    )


@template(2, "gmail", expects=[updated("gmail.UserEmailThread", "id", "user.email", only=["archived"])])
def gmail_archive_label(world: Contents, person: Person, random: Random) -> Draft | None:
    """Archives the threads of a label and a year."""
    inbox = world.of(person).gmail.inbox
    label, year = random.choice(words.EMAIL_LABELS), random_year(random, [t.emails[0].sent_at for t in inbox])
    chosen = [t for t in inbox if t.label == label and year and year.holds(t.emails[0].sent_at)]
    if year is None or not 1 <= len(chosen) <= 8:
        return None
    archive = write_each(
        "gmail",
        "mark_thread_archived",
        "threads",
        "thread",
        (f't["label"] == "{label}" and {year.condition(CREATED)}', f"label {label} that were created in {year.iso}"),
        [
            f"Archive the threads labelled {label} that were created in {year.iso}.",
            f"Mark every thread of {year.iso} with the label {label} as archived.",
        ],
        f"{len(chosen)} threads archived",
        email_thread_id=_THREAD_ID,
    )
    return Draft(
        [
            f"Archive all email threads in my Gmail inbox with the label '{label}' that were created {year.said}.",
            f"In my Gmail inbox, archive every thread labelled '{label}' that was started {year.said}.",
            f"Threads in my Gmail inbox that have the label '{label}' and were created {year.said} can be archived.",
        ],
        {"label": label, "year": year.said},
        [login_step("gmail"), collect_inbox(world.of(person).gmail), archive],
        rows={"updated gmail.UserEmailThread": [(thread.id, person.email) for thread in chosen]},
    )


@template(2, "gmail")
def gmail_meeting_fact(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for the time or the room of a meeting, as the newest of several emails tells."""
    account, topic = world.of(person).gmail, random.choice(words.EMAIL_TOPICS)
    field, said = random.choice((("Time", "time, like 09:30,"), ("Room", "room")))
    if topic not in [thread.subject for thread in account.inbox]:
        return None
    thread = newest(account, topic)
    if thread.kind != "meeting" or not beyond_first_page(account.inbox, [thread]):
        return None
    answer = thread.time if field == "Time" else thread.room
    compute = compute_from(
        "gmail",
        'email["body"].splitlines()',
        f'e.startswith("{field}: ")',
        'matches[0].split(": ")[1]',
        [f"Find what the email says after '{field}: '.", f"Print the {field.lower()} that the email's body names."],
        f"keep the lines of the body that start with '{field}: ', print the rest of the line",
        answer,
        (f'"{field}: "', '"Topic: "', f"That is the topic; the line must start with '{field}: '."),
    )
    return Draft(
        [
            f"What {said} does the newest thread with the subject '{topic}' in my Gmail inbox give for the meeting?",
            f"Tell me the {said} of the meeting that the last created thread '{topic}' of my Gmail inbox is about.",
            f"Which {said} does the most recently created thread '{topic}' of my Gmail inbox name for the meeting?",
        ],
        {"topic": topic, "fact": said},
        [login_step("gmail"), collect_inbox(account), read_newest(thread), compute],
        answer=answer,
    )


def read_bills(services: Sequence[str], year: Period, count: int) -> ScriptStep:
    """The sub-task that leaves the texts of a year's bills of some services in ``bodies``."""
    show = call("gmail", "show_thread", email_thread_id=_THREAD_ID)
    said, subjects = ", ".join(services), ", ".join(f'"{service} bill"' for service in services)
    return step(
        "read",
        "gmail",
        [
            f"Read the bills ({said}) in threads that were created in {year.iso}.",
            f"Get the first emails of the threads of {year.iso} that are bills of {said}.",
        ],
        f"keep the threads of {year.iso} with a subject like '{services[0]} bill', show_thread each, gather the first "
        "bodies in bodies",
        [
            keep("threads", f't["subject"] in [{subjects}] and {year.condition(CREATED)}'),
            "bodies = []",
            *for_each("matches", "thread", f'bodies.append({show}["emails"][0]["body"])'),
            'print(len(bodies), "bills")',
        ],
        f"{count} bills",
    )


@template(2, "gmail")
def gmail_bill_total(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for the sum of the bills of three services in a year."""
    account, services = world.of(person).gmail, sorted(random.sample(words.BILLS, 3))
    bills = [thread for thread in account.inbox if thread.kind == "bill" and thread.topic in services]
    year = random_year(random, [thread.emails[0].sent_at for thread in bills])
    matches = [thread for thread in bills if year and year.holds(thread.emails[0].sent_at)]
    if year is None or len(matches) < 2 or not beyond_first_page(account.inbox, matches):
        return None
    total, said = sum(thread.amount for thread in matches), "'{} bill', '{} bill' and '{} bill'".format(*services)
    compute = step(
        "compute",
        "gmail",
        ["Add up the amounts in dollars that the bills name.", "Print the sum of the amounts of all the bills."],
        "take the number after 'Amount: $' in each body, sum them",
        ['print(sum(int(body.split("Amount: $")[1].split()[0]) for body in bodies))'],
        str(total),
        wrong=("sum(int(", "max(int(", "The largest amount is taken; add all of them up."),
    )
    return Draft(
        [
            f"What do all threads {said} in my Gmail inbox that were created {year.said} bill in dollars altogether?",
            f"Add up the bills in my Gmail inbox with the subjects {said} whose threads were created {year.said}.",
            f"Threads {said} created {year.said} in my Gmail inbox: what is the sum of their bills?",
        ],
        {"first": services[0], "second": services[1], "third": services[2], "year": year.said},
        [login_step("gmail"), collect_inbox(account), read_bills(services, year, len(matches)), compute],
        answer=total,
    )


@template(2, "gmail", expects=THREAD_ANSWERED)
def gmail_reply(world: Contents, person: Person, random: Random) -> Draft | None:
    """Answers the newest email on a subject from somebody."""
    account = world.of(person).gmail
    chosen, text = random.choice(account.inbox), random.choice(words.MESSAGES)
    thread = newest(account, chosen.subject, chosen.other)
    if thread.emails[0].sender is person or not beyond_first_page(account.inbox, [thread]):
        return None
    other, subject = thread.other, thread.subject
    whose = f"'{subject}' with {other.name} ({other.email})"
    return Draft(
        [
            f"Reply '{text}' to the first email of the newest thread {whose} in my Gmail inbox.",
            f"Find the thread {whose} that was created last in my Gmail inbox. Answer its first email with '{text}'.",
            f"Answer '{text}' to the first email of the last created thread {whose} in my Gmail inbox.",
        ],
        {"email": other.email, "subject": subject, "message": text},
        [login_step("gmail"), collect_inbox(account), read_newest(thread, of_person=True), reply(other, text)],
        rows={"added gmail.Email": [(person.email, [other.email], f"Re: {subject}", text, thread.emails[0].id)]},
    )


_FORWARDED = (
    added("gmail.Email", "sender.email", "recipient_email_addresses", "subject", "response_to_email_id"),
    side("gmail.GlobalEmailThread", grows=True),
    side("gmail.UserEmailThread", grows=True),
)


@template(1, "gmail", challenge=True, expects=_FORWARDED)
def gmail_forward(world: Contents, person: Person, random: Random) -> Draft | None:
    """Forwards the newest thread on a subject to somebody."""
    account, receiver = world.of(person).gmail, random.choice(world.strangers)
    thread = newest(account, random.choice(account.inbox).subject)
    subject, email = thread.subject, receiver.email
    if receiver is thread.other or not beyond_first_page(account.inbox, [thread]):
        return None
    forward = write_once(
        "gmail",
        "forward_email_thread",
        [
            f"Forward the whole thread of this email to {email}.",
            f"Send the thread of the email on to {email}, all of it.",
        ],
        f"for the thread newest to {email}",
        f'"forwarded to {email}"',
        f"forwarded to {email}",
        email_thread_id=NEWEST_ID,
        email_addresses=f"[{quoted(email)}]",
    )
    return Draft(
        [
            f"Forward the newest thread with the subject '{subject}' in my Gmail inbox to {email}, all of it.",
            f"Send the whole thread '{subject}' that was created last in my Gmail inbox on to {email}.",
            f"{email} should get the last created thread '{subject}' of my Gmail inbox forwarded, the entire thread.",
        ],
        {"email": email, "subject": subject},
        [login_step("gmail"), collect_inbox(account), read_newest(thread), forward],
        rows={"added gmail.Email": [(person.email, [email], f"Fwd: {subject}", thread.emails[0].id)]},
    )
