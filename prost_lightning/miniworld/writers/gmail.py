"""Writes Gmail."""

from __future__ import annotations

from prost_lightning.miniworld.apps.gmail import Thread
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.writers.tables import SEARCH, Row, Tables, stamped


def write_gmail(tables: Tables, contents: Contents) -> None:
    """Writes emails, threads, attachments and drafts."""
    emails: list[Row] = []
    shared: list[Row] = []
    views: list[Row] = []
    attachments: list[Row] = []
    drafts: list[Row] = []
    for person in contents.supervisors:
        account = contents.of(person).gmail
        for thread in sorted(account.threads, key=lambda thread: thread.id):
            first_id = thread.emails[0].id
            for email in thread.emails:
                emails.append(
                    {
                        "sender_id": email.sender.id,
                        "recipient_ids": [email.receiver.id],
                        "subject": thread.subject,
                        "body": email.body,
                        "response_to_email_id": None if email.id == first_id else first_id,
                        "created_at": email.sent_at,
                    }
                )
                attachments.extend(
                    {
                        "email_id": email.id,
                        "file_name": attachment.file_name,
                        "file_content": attachment.content,
                        "created_at": email.sent_at,
                    }
                    for attachment in email.attachments
                )
            common: Row = {
                "email_ids": [email.id for email in thread.emails],
                "created_at": thread.emails[0].sent_at,
                "updated_at": thread.updated_at,
            }
            shared.append(common)
            flags = {name: getattr(thread, name) for name in ("read", "starred", "archived", "spam", "label")}
            view = {**common, **_summary(thread)}
            views.append({**view, **flags, **_side(thread.incoming, thread.outgoing), "user_id": person.id})
            views.append({**view, "read": True, **_side(thread.outgoing, thread.incoming), "user_id": thread.other.id})
        drafts.extend(
            {
                "user_id": person.id,
                "recipient_ids": [draft.receiver.id],
                "recipient_names": [draft.receiver.name],
                "recipient_email_addresses": [draft.receiver.email],
                "subject": draft.subject,
                "body": draft.body,
                **stamped(draft.updated_at),
            }
            for draft in account.drafts
        )
    tables.save("Email", emails)
    tables.save("GlobalEmailThread", shared)
    tables.save("Attachment", attachments)
    tables.save("UserEmailThread", views)
    tables.save("Draft", drafts)


def _side(incoming: bool, outgoing: bool) -> Row:
    return {"incoming": incoming, "outgoing": outgoing}


def _summary(thread: Thread) -> Row:
    """What a thread's view repeats of its emails, for the app's filters and search."""
    senders = list(dict.fromkeys(email.sender for email in thread.emails))
    receivers = list(dict.fromkeys(email.receiver for email in thread.emails))
    return {
        "global_email_thread_id": thread.global_id,
        "sender_names": [person.name for person in senders],
        "sender_email_addresses": [person.email for person in senders],
        "recipient_names": [person.name for person in receivers],
        "recipient_email_addresses": [person.email for person in receivers],
        "has_attachments": any(email.attachments for email in thread.emails),
        SEARCH: " ".join(
            " ".join(
                [
                    email.sender.name,
                    email.sender.email,
                    email.receiver.name,
                    email.receiver.email,
                    thread.subject,
                    email.body,
                ]
            )
            for email in thread.emails
        ),
    }
