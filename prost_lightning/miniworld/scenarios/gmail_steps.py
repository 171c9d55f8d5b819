"""Sub-tasks on Gmail that several scenarios share."""

from __future__ import annotations

from prost_lightning.miniworld.apps.gmail import GmailAccount, Thread
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.expectations import added, side
from prost_lightning.miniworld.scenarios.shapes import write_once
from prost_lightning.miniworld.scenarios.steps import call, collect_step, keep, quoted, step
from prost_lightning.miniworld.script import ScriptStep

CREATED = 't["created_at"]'
"""When the thread ``t`` began."""

NEWEST_ID = 'newest["email_thread_id"]'

# What the app keeps up to date in a thread that gets another email.
_FOLLOWS = (
    "email_ids",
    "updated_at",
    "incoming",
    "outgoing",
    "sender_email_addresses",
    "sender_names",
    "recipient_email_addresses",
    "recipient_names",
)

THREAD_ANSWERED = (
    added("gmail.Email", "sender.email", "recipient_email_addresses", "subject", "body", "response_to_email_id"),
    side("gmail.GlobalEmailThread", "email_ids", "updated_at"),
    side("gmail.UserEmailThread", *_FOLLOWS),
)
"""What a reply to an email changes."""


def collect_inbox(account: GmailAccount) -> ScriptStep:
    """The sub-task that leaves all threads of the inbox in ``threads``."""
    return collect_step("gmail", "show_inbox_threads", "threads", len(account.inbox), "threads in the Gmail inbox")


def participates(person: Person) -> str:
    """The condition that somebody takes part in the thread ``t``."""
    return f'{quoted(person.email)} in [p["email"] for p in t["participants"]]'


def newest(account: GmailAccount, subject: str, other: Person | None = None) -> Thread:
    """The thread of the inbox with a subject, and a person, that began last."""
    fitting = [t for t in account.inbox if t.subject == subject and other in (None, t.other)]
    return max(fitting, key=lambda thread: thread.emails[0].sent_at)


def read_newest(thread: Thread, *, of_person: bool = False) -> ScriptStep:
    """The sub-task that leaves the first email of the newest thread with a subject in ``email``.

    Args:
        thread: The thread, as :func:`newest` finds it; its row goes to ``newest``.
        of_person: Whether only threads with its other person count.
    """
    with_whom = f" with {thread.other.email}" if of_person else ""
    condition = f't["subject"] == {quoted(thread.subject)}'
    if of_person:
        condition += f" and {participates(thread.other)}"
    return step(
        "read",
        "gmail",
        [
            f"Read the first email of the inbox thread '{thread.subject}'{with_whom} that was created last.",
            f"Get the first email of the newest inbox thread{with_whom} with the subject '{thread.subject}'.",
        ],
        f"keep the threads '{thread.subject}'{with_whom}, show_thread the one with the largest created_at as newest, "
        "take its first email",
        [
            keep("threads", condition),
            f"newest = max(matches, key=lambda t: {CREATED})",
            f'email = {call("gmail", "show_thread", email_thread_id=NEWEST_ID)}["emails"][0]',
            'print("email of", email["created_at"])',
        ],
        f"email of {thread.emails[0].sent_at.isoformat()}",
    )


def reply(other: Person, message: str) -> ScriptStep:
    """The sub-task that answers ``email``."""
    return write_once(
        "gmail",
        "reply_to_email",
        [f"Reply to the email: '{message}'.", f"Answer the email with the text '{message}'."],
        f"with the thread's and the email's id and the body '{message}'",
        '"replied to", email["sender"]["email"]',
        f"replied to {other.email}",
        email_thread_id=NEWEST_ID,
        email_id='email["email_id"]',
        body=quoted(message),
    )


def send_text(receiver: Person, subject: str, body: str, what: str) -> ScriptStep:
    """The sub-task that emails one person.

    Args:
        receiver: Who gets it.
        subject: Its subject.
        body: Its text as a Python expression.
        what: Its text in words.
    """
    return write_once(
        "gmail",
        "send_email",
        [
            f"Email just {what} to {receiver.email} with the subject '{subject}'.",
            f"Send an email to {receiver.email}, subject '{subject}', whose body is {what}.",
        ],
        f"to {receiver.email} with subject '{subject}' and {what} as body",
        f'"email sent to {receiver.email}"',
        f"email sent to {receiver.email}",
        email_addresses=f"[{quoted(receiver.email)}]",
        subject=quoted(subject),
        body=body,
    )


def find_amount(thread: Thread) -> ScriptStep:
    """The sub-task that leaves the dollars that ``email`` names in ``amount``."""
    return step(
        "compute",
        "gmail",
        ["Find the amount in dollars that the email names.", "Print the number of dollars in the email's body."],
        "take the number after the dollar sign in the body as amount",
        ['amount = int(email["body"].split("$")[1].split()[0])', "print(amount)"],
        str(thread.amount),
        wrong=("int(", "len(", "That is the number of digits; the amount is the number itself."),
    )


def find_order(thread: Thread) -> ScriptStep:
    """The sub-task that leaves the product and the quantity that ``email`` asks for in ``name`` and ``quantity``."""
    return step(
        "compute",
        "gmail",
        ["Find the product and the quantity that the email asks for.", "Print the quantity and the product wanted."],
        "take what follows the colon of the body's first line as name, of its second line as quantity",
        [
            'first, second = email["body"].splitlines()',
            'name, quantity = first.split(": ")[1], int(second.split(": ")[1])',
            "print(quantity, name)",
        ],
        f"{thread.amount} {thread.topic}",
        wrong=('second.split(": ")[1]', 'first.split(": ")[1]', "The quantity is on the second line."),
    )
