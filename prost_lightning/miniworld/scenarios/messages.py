"""Scenarios whose facts stand in text messages."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.phone import PhoneMessage
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.dates import NOW, day
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.endings import TASKS_ADDED, add_tasks
from prost_lightning.miniworld.scenarios.steps import collect_step, keep, login_step, quoted, step
from prost_lightning.miniworld.script import ScriptStep


def collect_texts(texts: tuple[PhoneMessage, ...]) -> ScriptStep:
    """The sub-task that leaves all text messages, sent and received, in ``texts``."""
    return collect_step("phone", "search_text_messages", "texts", len(texts), "text messages of the phone")


def texts_from(world: Contents, person: Person, random: Random) -> tuple[str, list[PhoneMessage]]:
    """Chooses somebody who texted the person; returns the full name and what came from there, newest first."""
    received = [text for text in world.of(person).phone.texts if text.sender is not person]
    sender = random.choice(received).sender
    return sender.name, [text for text in received if text.sender is sender]


@template(1, "phone")
def phone_latest_text(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks what somebody texted last before a day."""
    name, received = texts_from(world, person, random)
    limit = day(NOW - timedelta(days=random.randint(0, 120)))
    before = [text for text in received if day(text.sent_at) < limit]
    if len({text.text for text in before[:3]}) < 3:
        return None
    latest = step(
        "compute",
        "phone",
        [
            f"Print the latest text message that came from {name} before {limit}.",
            f"Find what {name} texted last before {limit}.",
        ],
        f"keep the texts from {name} sent before {limit}, take the latest by sent_at",
        [
            keep("texts", f't["sender"]["name"] == {quoted(name)} and t["sent_at"] < "{limit}"'),
            'print(max(matches, key=lambda m: m["sent_at"])["message"])',
        ],
        before[0].text,
        wrong=("max(", "min(", "It takes the earliest text; the latest is asked for."),
    )
    return Draft(
        [
            f"What did {name} text me last before {limit}? Give me the exact message.",
            f"Give me the exact words of the latest text message that I got from {name} before {limit}.",
            f"{name} sent me several text messages. How does the most recent one from before {limit} read?",
        ],
        {"name": name, "before": limit},
        [login_step("phone"), collect_texts(world.of(person).phone.texts), latest],
        answer=before[0].text,
    )


@template(2, "phone")
def phone_debts(world: Contents, person: Person, random: Random) -> Draft | None:
    """Adds up what somebody says is owed, in text messages since a day."""
    name, received = texts_from(world, person, random)
    since = day(NOW - timedelta(days=random.randint(60, 137)))
    debts = [text for text in received if text.kind == "debt"]
    amounts = [text.amount for text in debts if day(text.sent_at) >= since]
    if len(amounts) < 2 or len(amounts) == len(debts):
        return None
    total = sum(amounts)
    says = f't["sender"]["name"] == {quoted(name)} and "You owe me $" in t["message"]'
    add_up = step(
        "compute",
        "phone",
        [
            f"Add up the dollars that I owe {name} by the texts since {since}.",
            f"Print the sum that {name} asked for in texts from {since} on.",
        ],
        f"keep the texts from {name} since {since} that say 'You owe me $', sum the number after each $",
        [
            keep("texts", f'{says} and t["sent_at"] >= "{since}"'),
            'print(sum(int(m["message"].split("$")[1].split()[0]) for m in matches))',
        ],
        str(total),
        wrong=(f' and t["sent_at"] >= "{since}"', "", f"Texts from before {since} were counted."),
    )
    return Draft(
        [
            f"According to the text messages that {name} sent me since {since}, how many dollars do I owe in total?",
            f"Add up all amounts that {name} claimed from me by text message ('You owe me ...') from {since} on.",
            f"{name} keeps texting me what I owe. What is the sum in dollars, counting only messages since {since}?",
        ],
        {"name": name, "since": since},
        [login_step("phone"), collect_texts(world.of(person).phone.texts), add_up],
        answer=total,
    )


@template(3, "phone", "todoist", expects=[TASKS_ADDED])
def text_errands_to_project(world: Contents, person: Person, random: Random) -> Draft | None:
    """Turns the errands that somebody texted since a day into tasks."""
    name, received = texts_from(world, person, random)
    project, priority = random.choice(world.of(person).todoist.projects), random.choice(words.PRIORITIES)
    since = day(NOW - timedelta(days=random.randint(60, 137)))
    errands = [text for text in received if text.kind == "errand"]
    chosen = [text.topic for text in errands if day(text.sent_at) >= since]
    if len(set(chosen)) < max(2, len(chosen)) or len(chosen) == len(errands):
        return None
    says = f't["sender"]["name"] == {quoted(name)} and "Please do this for me: " in t["message"]'
    read = step(
        "compute",
        "phone",
        [f"Find the errands that {name} texted since {since}.", f"Read what {name} asked for in texts since {since}."],
        f"keep the texts from {name} since {since} that say 'Please do this for me: ', keep what follows in errands",
        [
            keep("texts", f'{says} and t["sent_at"] >= "{since}"'),
            'errands = [m["message"].split(": ")[1] for m in matches]',
            'print(len(errands), "errands:", sorted(errands)[0])',
        ],
        f"{len(chosen)} errands: {min(chosen)}",
        value=min(chosen),
        wrong=(f' and t["sent_at"] >= "{since}"', "", f"Errands from before {since} are among them."),
    )
    collect = [login_step("phone"), collect_texts(world.of(person).phone.texts), read]
    where = f"my Todoist project '{project.name}'"
    return Draft(
        [
            f"{name} texted me errands ('Please do this for me: ...'). Add each one since {since} as a {priority} "
            f"priority task to {where}.",
            f"Make a {priority} priority task in {where} of every errand that {name} texted me since {since}.",
            f"Every text message since {since} in which {name} writes 'Please do this for me' names an errand: put "
            f"them all into {where} with {priority} priority.",
        ],
        {"name": name, "since": since, "project": project.name, "priority": priority},
        [*collect, login_step("todoist"), add_tasks(project, "errands", "errand", priority, len(chosen))],
        rows={"added todoist.Task": [(what, project.name, person.email, priority, False) for what in chosen]},
    )
