"""Gmail: threads with facts to be read, drafts, attachments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.dates import moments
from prost_lightning.miniworld.people import Person

_THREADS = 62
_DRAFTS = 4
_PARTNERS = 8
_OWN_SHARE = 0.25
_REPLY_SHARE = 0.3
_ATTACHMENT_SHARE = 0.25


@dataclass(frozen=True)
class Attachment:
    """A file that hangs on an email."""

    id: int
    file_name: str
    content: str


@dataclass(frozen=True)
class Email:
    """An email of a thread, from one person to one other."""

    id: int
    sender: Person
    receiver: Person
    body: str
    sent_at: datetime
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True)
class Thread:
    """A thread between a supervisor and one other person, as the supervisor has it.

    Attributes:
        id: Database id of the supervisor's own view of the thread (``email_thread_id``).
        global_id: Database id of the thread that both share.
        subject: Subject of all its emails.
        other: The other person.
        emails: Oldest first; the facts are in the first.
        kind: What must be read out of the first email: ``meeting`` (``topic`` at ``time`` in ``room``), ``bill``
            (``amount`` dollars for ``topic``), ``request`` (please send ``amount`` dollars for ``topic``), ``order``
            (please put ``amount`` pieces of the product ``topic`` into the Amazon cart), ``errand`` (please do
            ``topic``) or ``chat``.
    """

    id: int
    global_id: int
    subject: str
    other: Person
    emails: tuple[Email, ...]
    read: bool
    starred: bool
    archived: bool
    spam: bool
    label: str | None
    kind: str
    topic: str
    amount: int
    time: str
    room: str

    @property
    def incoming(self) -> bool:
        """Whether an email of it came from the other person."""
        return any(email.sender is self.other for email in self.emails)

    @property
    def outgoing(self) -> bool:
        """Whether an email of it went to the other person."""
        return any(email.receiver is self.other for email in self.emails)

    @property
    def updated_at(self) -> datetime:
        """When its last email was sent."""
        return self.emails[-1].sent_at


@dataclass(frozen=True)
class Draft:
    """An email that was not sent."""

    id: int
    receiver: Person
    subject: str
    body: str
    updated_at: datetime


@dataclass(frozen=True)
class GmailAccount:
    """What one person has in Gmail; threads and drafts with the last updated first, as the app lists them."""

    threads: tuple[Thread, ...]
    drafts: tuple[Draft, ...]

    @property
    def inbox(self) -> tuple[Thread, ...]:
        """What ``show_inbox_threads`` returns: incoming, neither archived nor spam."""
        return tuple(t for t in self.threads if t.incoming and not t.archived and not t.spam)

    @property
    def outbox(self) -> tuple[Thread, ...]:
        """What ``show_outbox_threads`` returns: outgoing, neither archived nor spam."""
        return tuple(t for t in self.threads if t.outgoing and not t.archived and not t.spam)


def make_account(random: Random, ids: Ids, person: Person, strangers: list[Person]) -> GmailAccount:
    """Invents what a person has in Gmail.

    Args:
        random: Source of the choices.
        ids: Source of ids.
        person: Whose account it is.
        strangers: Those who are no supervisor; only they correspond with the person.
    """
    partners = random.sample(strangers, _PARTNERS)
    threads = [
        _make_thread(random, ids, person, random.choice(partners), started_at)
        for started_at in reversed(moments(random, _THREADS))
    ]
    drafts = tuple(
        Draft(
            ids.next("Draft"), random.choice(partners), random.choice(words.SUBJECTS), random.choice(words.MESSAGES), at
        )
        for at in moments(random, _DRAFTS)
    )
    return GmailAccount(tuple(sorted(threads, key=lambda thread: thread.updated_at, reverse=True)), drafts)


def _make_thread(random: Random, ids: Ids, person: Person, other: Person, started_at: datetime) -> Thread:
    kind = random.choice(("meeting", "bill", "request", "order", "errand", "chat"))
    topic = random.choice(
        {
            "meeting": words.EMAIL_TOPICS,
            "bill": words.BILLS,
            "request": words.PAYMENTS,
            "order": [f"{brand} {product}" for brand in words.BRANDS for product in words.PRODUCTS],
            "errand": words.CHORES,
            "chat": words.SUBJECTS,
        }[kind]
    )
    amount = random.randint(1, 5) if kind == "order" else random.randint(10, 140)
    room = random.choice(words.ROOMS)
    time = f"{random.randint(8, 18):02d}:{random.choice((0, 15, 30, 45)):02d}"
    subject, body = {
        "meeting": (topic, f"Topic: {topic}\nTime: {time}\nRoom: {room}"),
        "bill": (f"{topic} bill", f"Service: {topic}\nAmount: ${amount}"),
        "request": (topic, f"Please send me ${amount} on Venmo for: {topic}"),
        "order": ("Shopping", f"Please put this into your Amazon cart for me: {topic}\nQuantity: {amount}"),
        "errand": ("To do", f"Please do this: {topic}"),
        "chat": (topic, random.choice(words.MESSAGES)),
    }[kind]
    own = random.random() < _OWN_SHARE
    sender, receiver = (person, other) if own else (other, person)
    emails = [Email(ids.next("Email"), sender, receiver, body, started_at, _attachments(random, ids, topic))]
    if random.random() < _REPLY_SHARE:
        at = started_at + timedelta(minutes=random.randint(1, 50))
        emails.append(Email(ids.next("Email"), receiver, sender, random.choice(words.MESSAGES), at, ()))
    thread_id = ids.next("UserEmailThread")
    ids.next("UserEmailThread")  # the other person's view
    return Thread(
        id=thread_id,
        global_id=ids.next("GlobalEmailThread"),
        subject=subject,
        other=other,
        emails=tuple(emails),
        read=random.random() < 0.6,
        starred=random.random() < 0.2,
        archived=random.random() < 0.12,
        spam=random.random() < 0.08,
        label=random.choice(words.EMAIL_LABELS) if random.random() < 0.4 else None,
        kind=kind,
        topic=topic,
        amount=amount,
        time=time,
        room=room,
    )


def _attachments(random: Random, ids: Ids, topic: str) -> tuple[Attachment, ...]:
    if random.random() > _ATTACHMENT_SHARE:
        return ()
    stem = random.choice(words.FILE_WORDS)
    return (Attachment(ids.next("Attachment"), f"{stem}.{random.choice(('pdf', 'txt', 'csv'))}", f"{stem}: {topic}"),)
