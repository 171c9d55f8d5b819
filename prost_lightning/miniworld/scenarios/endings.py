"""Sub-tasks with which scenarios of several themes end: an email, a note, tasks, a playlist, a text message."""

from __future__ import annotations

from prost_lightning.miniworld.apps.todoist import Project
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.expectations import added
from prost_lightning.miniworld.scenarios.steps import call, for_each, quoted, step, write_each
from prost_lightning.miniworld.scenarios.todoist import find_project
from prost_lightning.miniworld.script import ScriptStep

NOTE_CREATED = added("simple_note.Note", "title", "content", "user.email")
"""What a new note changes."""

TASKS_ADDED = added("todoist.Task", "title", "project.name", "project.user.email", "priority", "is_completed")
"""What new tasks change in Todoist."""

TEXTS_SENT = (
    added("phone.GlobalTextMessage", "sender.phone_number", "receiver.phone_number", "message"),
    added("phone.UserTextMessage", "user.phone_number"),
)
"""What text messages change."""

PLAYLIST_MADE = (
    added("spotify.Playlist", "title", "user.email"),
    added("spotify.PlaylistSong", "song.title", "playlist.title", "playlist.user.email"),
)
"""What a new playlist changes."""


def send_email(receiver: str, subject: str, body: str) -> ScriptStep:
    """The sub-task that emails the text in the variable ``body`` to an address."""
    addresses = f"[{quoted(receiver)}]"
    return step(
        "write",
        "gmail",
        [
            f"Email {body} to {receiver} with the subject '{subject}'.",
            f"Send {receiver} an email with subject '{subject}' and {body} as its body.",
        ],
        f"call send_email to {receiver} with subject '{subject}' and {body} as body",
        [
            call("gmail", "send_email", email_addresses=addresses, subject=quoted(subject), body=body),
            f'print("email sent to {receiver}")',
        ],
        f"email sent to {receiver}",
    )


def create_note(title: str, lines: str) -> ScriptStep:
    """The sub-task that makes a note of the list of texts in the variable ``lines``, one a line."""
    content = rf'"\n".join({lines})'
    return step(
        "write",
        "simple_note",
        [f"Create the note '{title}' with {lines}, one a line.", f"Save {lines} as a new Simple Note note '{title}'."],
        f"call create_note with title '{title}' and {lines} joined by line breaks",
        [call("simple_note", "create_note", title=quoted(title), content=content), f'print("{title} created")'],
        f"{title} created",
    )


def add_tasks(project: Project, titles: str, title: str, priority: str, count: int) -> ScriptStep:
    """The sub-task that adds a task to a project for each text in the variable ``titles``; ``title`` is the loop's."""
    create = call("todoist", "create_task", project_id='project["project_id"]', title=title, priority=quoted(priority))
    return step(
        "write",
        "todoist",
        [
            f"Add the {titles} to the Todoist project '{project.name}' with {priority} priority.",
            f"Create a {priority} priority task in '{project.name}' for each {title}.",
        ],
        f"find the project '{project.name}', call create_task for each {title} with priority {priority}",
        [*find_project(project), *for_each(titles, title, create), f'print(len({titles}), "tasks added")'],
        f"{count} tasks added",
    )


def text_contact(receiver: Person, message: str) -> ScriptStep:
    """The sub-task that texts what is in the variable ``message`` to one of ``contacts``."""
    first, last = quoted(receiver.first_name), quoted(receiver.last_name)
    return write_each(
        "phone",
        "send_text_message",
        "contacts",
        "contact",
        (f'c["first_name"] == {first} and c["last_name"] == {last}', f"the name {receiver.name}"),
        [
            f"Text {message} to the contact {receiver.name}.",
            f"Send {receiver.name} a text message with what is in {message}.",
        ],
        "1 message sent",
        phone_number='contact["phone_number"]',
        message=message,
    )


def make_playlist(title: str, count: int) -> ScriptStep:
    """The sub-task that makes a playlist of the songs in ``songs``."""
    add = call("spotify", "add_song_to_playlist", playlist_id='playlist["playlist_id"]', song_id='song["song_id"]')
    return step(
        "write",
        "spotify",
        [f"Create the playlist '{title}' with all of songs.", f"Make a playlist '{title}' and add the songs to it."],
        f"create_playlist '{title}', then add_song_to_playlist for each of songs",
        [
            f"playlist = {call('spotify', 'create_playlist', title=quoted(title))}",
            *for_each("songs", "song", add),
            'print(len(songs), "songs added")',
        ],
        f"{count} songs added",
    )
