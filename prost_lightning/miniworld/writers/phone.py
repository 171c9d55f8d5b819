"""Writes the phone."""

from __future__ import annotations

from prost_lightning.miniworld.apps.phone import PhoneMessage
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.writers.tables import SEARCH, Tables, ago


def write_phone(tables: Tables, contents: Contents) -> None:
    """Writes contacts, messages and alarms."""
    accounts = [(person, contents.of(person).phone) for person in contents.supervisors]
    tables.save(
        "Contact",
        [
            {
                "user_id": person.id,
                "first_name": contact.person.first_name,
                "last_name": contact.person.last_name,
                "email": contact.person.email,
                "phone_number": contact.person.phone_number,
                "birthday": contact.person.birthday,
                "home_address": contact.person.addresses[0].text,
                "work_address": contact.person.addresses[1].text,
                "relationships": list(contact.relationships),
                "created_at": ago(10 + place),  # the phone lists the newest first
            }
            for person, account in accounts
            for place, contact in enumerate(account.contacts)
        ],
    )
    _write_messages(tables, "Text", [message for _, account in accounts for message in account.texts])
    _write_messages(tables, "Voice", [message for _, account in accounts for message in account.voices])
    tables.save(
        "Alarm",
        [
            {
                "user_id": person.id,
                "time": alarm.time,
                "label": alarm.label,
                "enabled": alarm.enabled,
                "repeat_days": list(alarm.repeat_days),
                "snooze_minutes": alarm.snooze_minutes,
                "vibration": True,
                "created_at": ago(50 - place),
            }
            for person, account in accounts
            for place, alarm in enumerate(account.alarms)
        ],
    )


def _write_messages(tables: Tables, medium: str, messages: list[PhoneMessage]) -> None:
    tables.save(
        f"Global{medium}Message",
        [
            {
                "sender_id": message.sender.id,
                "receiver_id": message.receiver.id,
                "message": message.text,
                "created_at": message.sent_at,
            }
            for message in messages
        ],
    )
    tables.save(
        f"User{medium}Message",
        [
            {
                f"global_{medium.lower()}_message_id": message.id,
                "user_id": person.id,
                "created_at": message.sent_at,
                SEARCH: f"{message.text} {message.sender.name} {message.receiver.name}",
            }
            for message in messages
            for person in (message.sender, message.receiver)
        ],
    )
