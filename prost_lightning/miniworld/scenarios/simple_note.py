"""Scenarios about Simple Note alone."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.simple_note import Note
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.dates import NOW, day
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.endings import NOTE_CREATED, create_note
from prost_lightning.miniworld.scenarios.expectations import updated
from prost_lightning.miniworld.scenarios.notes import read_note
from prost_lightning.miniworld.scenarios.steps import call, collect_step, keep, login_step, step, write_each
from prost_lightning.miniworld.script import ScriptStep


@template(1, "simple_note")
def note_spending(world: Contents, person: Person, random: Random) -> Draft | None:
    """Adds up this year's larger lines of a spending log."""
    note = random.choice([note for note in world.of(person).notes if note.kind == "spending"])
    least = random.randint(5, 40)
    large = [entry for entry in note.spending if entry.amount >= least]
    recent = [entry.amount for entry in large if entry.day.startswith("2023")]
    if len(recent) < 2 or len(recent) == len(large):
        return None
    add_up = step(
        "compute",
        "simple_note",
        [
            f"Add up the amounts of 2023 that are {least} or more.",
            f"Print the sum of all amounts from {least} on in the items of 2023.",
        ],
        f"split each item at ' | ' into day, name and amount, keep those of 2023 from {least} on, sum the amounts",
        [
            'amounts = [int(i.split(" | ")[2]) for i in items if i.startswith("2023")]',
            f"print(sum(a for a in amounts if a >= {least}))",
        ],
        str(sum(recent)),
        wrong=(' if i.startswith("2023")', "", "It counts the items of earlier years too; only those of 2023 count."),
    )
    return Draft(
        [
            f"My Simple Note note '{note.title}' has lines like '2023-04-12 | Groceries | 23' (dollars). What is the "
            f"sum of all amounts of $ {least} or more in the year 2023?",
            f"By the Simple Note note '{note.title}', how many dollars did I spend in 2023, counting only lines of at "
            f"least $ {least}?",
            f"Look at the lines of '{note.title}' in Simple Note and add up what I spent in 2023, leaving out "
            f"everything below $ {least}.",
        ],
        {"note": note.title, "least": least},
        [login_step("simple_note"), read_note(note), add_up],
        answer=sum(recent),
    )


@template(
    1,
    "simple_note",
    expects=[updated("simple_note.Note", "title", "user.email", "pinned", only=["pinned", "updated_at"])],
)
def note_pin_tagged(world: Contents, person: Person, random: Random) -> Draft | None:
    """Pins the notes with a tag that were last changed before a day."""
    notes = world.of(person).notes
    tag, limit = random.choice(words.NOTE_TAGS), day(NOW - timedelta(days=random.randint(0, 500)))
    chosen = [note for note in notes if tag in note.tags and not note.pinned and day(note.updated_at) < limit]
    if not 2 <= len(chosen) <= 8 or not beyond_first_page(notes, chosen):
        return None
    pin = write_each(
        "simple_note",
        "update_note",
        "notes",
        "note",
        (
            f'"{tag}" in n["tags"] and not n["pinned"] and n["updated_at"] < "{limit}"',
            f"the tag {tag} that are not pinned and were updated before {limit}",
        ),
        [
            f"Pin the notes tagged '{tag}' that were last updated before {limit}.",
            f"Pin every note with the tag '{tag}' whose last update was before {limit}.",
        ],
        f"{len(chosen)} notes pinned",
        note_id='note["note_id"]',
        pinned="True",
    )
    return Draft(
        [
            f"Pin all my Simple Note notes with the tag '{tag}' that were last updated before {limit}.",
            f"Every note in Simple Note that is tagged '{tag}' and was not updated on or after {limit} should be "
            "pinned.",
            f"In Simple Note, pin those of my '{tag}' notes whose last update lies before {limit}.",
        ],
        {"tag": tag, "before": limit},
        [
            login_step("simple_note"),
            collect_step("simple_note", "search_notes", "notes", len(notes), "notes of Simple Note"),
            pin,
        ],
        rows={"updated simple_note.Note": [(note.title, person.email, True) for note in chosen]},
    )


@template(
    2,
    "simple_note",
    expects=[updated("simple_note.Note", "title", "user.email", "content", only=["content", "updated_at"])],
)
def note_tidy_check_list(world: Contents, person: Person, random: Random) -> Draft | None:
    """Removes the done lines of a check list, or the open ones."""
    note = random.choice([note for note in world.of(person).notes if note.kind == "check"])
    removed, sign = random.choice((("done", "[x]"), ("open", "[ ]")))
    kept = [item for item in note.items if not item.startswith(sign)]
    if not 2 <= len(kept) <= len(note.items) - 2:
        return None
    select = step(
        "compute",
        "simple_note",
        [f"Keep the items that do not start with '{sign}'.", f"Drop every item that starts with '{sign}'."],
        f"keep in kept the items that do not start with '{sign}'",
        [f'kept = [i for i in items if not i.startswith("{sign}")]', 'print(len(kept), "items kept")'],
        f"{len(kept)} items kept",
        wrong=("if not i.", "if i.", f"It keeps the items that start with '{sign}'; those must go."),
    )
    write = step(
        "write",
        "simple_note",
        ["Make the kept items the note's whole content.", "Replace the note's content by the kept items, one a line."],
        "call update_note with the note's note_id and the kept items joined by line breaks as content",
        [
            call("simple_note", "update_note", note_id='note["note_id"]', content=r'"\n".join(kept)'),
            'print("note updated")',
        ],
        "note updated",
    )
    return Draft(
        [
            f"Delete the {removed} lines (they start with '{sign}') from my Simple Note note '{note.title}' and leave "
            "the others as they are.",
            f"My check list '{note.title}' in Simple Note marks {removed} items with '{sign}'. Remove those lines, "
            "keep the rest in its order.",
            f"Take every {removed} item, which is a line that starts with '{sign}', out of the Simple Note note "
            f"'{note.title}', without changing anything else in it.",
        ],
        {"note": note.title, "removed": removed},
        [login_step("simple_note"), read_note(note), select, write],
        rows={"updated simple_note.Note": [(note.title, person.email, "\n".join(kept))]},
    )


def read_open_items(note: Note, into: str) -> list[ScriptStep]:
    """The two sub-tasks that leave a check list's open items, without their sign, in a variable."""
    count = sum(not item.done for item in note.checks)
    select = step(
        "compute",
        "simple_note",
        [
            f"Keep the open items of '{note.title}', without the sign.",
            f"Put what '{note.title}' has open in {into}.",
        ],
        f"cut '[ ] ' off the items that start with it, leave these in {into}",
        [
            keep("items", 'i.startswith("[ ] ")'),
            f"{into} = [m[4:] for m in matches]",
            'print(len(matches), "open items")',
        ],
        f"{count} open items",
        wrong=('"[ ] "', '"[x] "', "It keeps the done items; the open ones start with '[ ] '."),
    )
    return [read_note(note), select]


@template(2, "simple_note", challenge=True, expects=[NOTE_CREATED])
def note_merge_open_items(world: Contents, person: Person, random: Random) -> Draft | None:
    """Joins the open lines of two check lists in a new note."""
    notes = world.of(person).notes
    first, second = random.sample([note for note in notes if note.kind == "check"], 2)
    title = f"Open {random.choice(words.NOTE_TAGS)} items"
    open_items = [item.what for note in (first, second) for item in note.checks if not item.done]
    # With as many done as open items, taking the wrong ones would go unnoticed.
    if len(open_items) < 3 or any(2 * sum(i.done for i in note.checks) == len(note.checks) for note in (first, second)):
        return None
    content = "\n".join(open_items)
    read = [*read_open_items(first, "first_items"), *read_open_items(second, "second_items")]
    return Draft(
        [
            f"Create a Simple Note note '{title}' that lists, one a line and without the signs, the open items ('[ "
            f"]') of my note '{first.title}' and then those of my note '{second.title}'.",
            f"Collect what is still open ('[ ]') in the Simple Note check lists '{first.title}' and '{second.title}', "
            f"in that order, in a new note '{title}', one item a line, without the '[ ] '.",
            f"I need a new Simple Note note '{title}': every item that '{first.title}' marks as open with '[ ]', then "
            f"every such item of '{second.title}', each on its own line and without that sign.",
        ],
        {"first": first.title, "second": second.title, "title": title},
        [login_step("simple_note"), *read, create_note(title, "first_items + second_items")],
        rows={"added simple_note.Note": [(title, content, person.email)]},
    )
