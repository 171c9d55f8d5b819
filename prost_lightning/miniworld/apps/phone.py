"""Phone: contacts, text and voice messages, alarms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.dates import moments
from prost_lightning.miniworld.people import Person

_CONTACTS = 26
_TEXTS = 64
_VOICES = 22
_TEXT_PARTNERS = 4
_ALARMS = 7
_SECOND_RELATIONSHIP_SHARE = 0.15


@dataclass(frozen=True)
class Contact:
    """An entry of somebody's phone book."""

    id: int
    person: Person
    relationships: tuple[str, ...]


@dataclass(frozen=True)
class PhoneMessage:
    """A text or voice message.

    Attributes:
        kind: ``chat``, or what must be read out of it: ``debt`` (``amount`` dollars for ``topic``), ``meeting``
            (``topic`` at ``time``) or ``errand`` (``topic`` is what the receiver shall buy or do).
    """

    id: int
    sender: Person
    receiver: Person
    text: str
    sent_at: datetime
    kind: str
    topic: str
    amount: int
    time: str


@dataclass(frozen=True)
class Alarm:
    """An alarm; ``time`` is like ``06:30``, ``repeat_days`` are lower-case weekdays."""

    id: int
    time: str
    label: str
    enabled: bool
    repeat_days: tuple[str, ...]
    snooze_minutes: int


@dataclass(frozen=True)
class PhoneAccount:
    """What one person has on the phone; all lists but the alarms newest first, as the app lists them."""

    contacts: tuple[Contact, ...]
    texts: tuple[PhoneMessage, ...]
    voices: tuple[PhoneMessage, ...]
    alarms: tuple[Alarm, ...]


def make_account(
    random: Random, ids: Ids, person: Person, others: list[Person], strangers: list[Person]
) -> PhoneAccount:
    """Invents what a person has on the phone.

    Args:
        random: Source of the choices.
        ids: Source of ids.
        person: Whose phone it is.
        others: Everybody else.
        strangers: Those of them whose own phone nobody looks into; only they exchange messages with the person.
    """
    partners = random.sample(strangers, _TEXT_PARTNERS)
    # Namesakes of a partner must be in the phone book for a first name to be ambiguous.
    known = [*partners, *random.sample([other for other in others if other not in partners], _CONTACTS - len(partners))]
    random.shuffle(known)
    return PhoneAccount(
        contacts=tuple(Contact(ids.next("Contact"), other, _relationships(random)) for other in known),
        texts=_messages(random, ids, "TextMessage", person, partners, _TEXTS),
        voices=_messages(random, ids, "VoiceMessage", person, partners[:3], _VOICES),
        alarms=_make_alarms(random, ids),
    )


def _make_alarms(random: Random, ids: Ids) -> tuple[Alarm, ...]:
    """Alarms at different times, in the order of their times, as the database's index gives them back."""
    minutes = sorted(random.sample(range(5 * 60, 22 * 60, 15), _ALARMS))
    labels = random.sample(words.ALARMS, _ALARMS)
    return tuple(
        Alarm(
            id=ids.next("Alarm"),
            time=f"{minute // 60:02d}:{minute % 60:02d}",
            label=label,
            enabled=random.random() < 0.6,
            repeat_days=tuple(sorted(random.sample(words.WEEKDAYS, random.randint(1, 4)), key=words.WEEKDAYS.index)),
            snooze_minutes=random.choice((0, 5, 10, 15)),
        )
        for minute, label in zip(minutes, labels, strict=True)
    )


def _relationships(random: Random) -> tuple[str, ...]:
    count = 2 if random.random() < _SECOND_RELATIONSHIP_SHARE else 1
    return tuple(random.sample(words.RELATIONSHIPS, count))


def _messages(
    random: Random, ids: Ids, table: str, person: Person, partners: list[Person], count: int
) -> tuple[PhoneMessage, ...]:
    messages = []
    for sent_at in moments(random, count):
        pair = [person, random.choice(partners)]
        random.shuffle(pair)
        kind = random.choice(("chat", "debt", "meeting", "errand"))
        amount, time = random.randint(5, 90), f"{random.randint(8, 20):02d}:{random.choice((0, 15, 30, 45)):02d}"
        topic = {
            "chat": random.choice(words.MESSAGES),
            "debt": random.choice(words.PAYMENTS),
            "meeting": random.choice(words.EMAIL_TOPICS),
            "errand": random.choice(words.CHORES),
        }[kind]
        text = {
            "chat": topic,
            "debt": f"You owe me ${amount} for: {topic}",
            "meeting": f"{topic} starts at {time}",
            "errand": f"Please do this for me: {topic}",
        }[kind]
        messages.append(PhoneMessage(ids.next(table), pair[0], pair[1], text, sent_at, kind, topic, amount, time))
    return tuple(messages)
