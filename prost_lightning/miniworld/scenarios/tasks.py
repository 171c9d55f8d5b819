"""Scenarios about the tasks of one Todoist project: due dates, labels, and what a note or an email makes of them."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.dates import NOW
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.endings import NOTE_CREATED, create_note, send_email
from prost_lightning.miniworld.scenarios.expectations import added, updated
from prost_lightning.miniworld.scenarios.notes import EMAIL_SENT
from prost_lightning.miniworld.scenarios.steps import find, keep, login_step, quoted, step, write_each
from prost_lightning.miniworld.scenarios.todoist import collect_tasks
from prost_lightning.miniworld.script import ScriptStep


def find_label(name: str) -> ScriptStep:
    """The sub-task that leaves a Todoist label in ``label``."""
    return step(
        "read",
        "todoist",
        [f"Find the Todoist label '{name}'.", f"Look up the id of the label '{name}' in Todoist."],
        f"search the labels for '{name}', keep the one of exactly that name in label",
        [*find("todoist", "search_labels", "labels", "label", "name", name), 'print("label", label["name"])'],
        f"label {name}",
    )


@template(1, "todoist")
def todoist_overdue(world: Contents, person: Person, random: Random) -> Draft | None:
    """Counts the open tasks of a project that were due before a day."""
    project = random.choice(world.of(person).todoist.projects)
    day = NOW.date() - timedelta(days=random.randint(0, 25))
    overdue = [task for task in project.tasks if task.due is not None and task.due < day and not task.done]
    done = [task for task in project.tasks if task.due is not None and task.due < day and task.done]
    if len(overdue) < 2 or not done:
        return None
    count = step(
        "compute",
        "todoist",
        [
            f"Count the open tasks that are due before {day}.",
            f"Print how many open tasks have a due date before {day}.",
        ],
        f"keep the tasks that are not completed and have a due_date before {day}, count them",
        [
            keep("tasks", f'not t["is_completed"] and t["due_date"] and t["due_date"] < "{day}"'),
            "print(len(matches))",
        ],
        str(len(overdue)),
        wrong=('not t["is_completed"] and ', "", "Completed tasks were counted; only open ones count."),
    )
    return Draft(
        [
            f"How many open tasks of my Todoist project '{project.name}' were due before {day}?",
            f"In my Todoist project '{project.name}', count the tasks that are not completed and due before {day}.",
            f"Tell me the number of tasks in my Todoist project '{project.name}' that should have been done before "
            f"{day} but are not completed.",
        ],
        {"project": project.name, "day": str(day)},
        [login_step("todoist"), collect_tasks(project), count],
        answer=len(overdue),
    )


@template(
    2,
    "todoist",
    expects=[
        added("todoist.TaskLabelLink", "task.title", "task.project.name", "task.project.user.email", "label.name")
    ],
)
def todoist_label_tasks(world: Contents, person: Person, random: Random) -> Draft | None:
    """Puts a label on the open tasks of a priority that lack it."""
    project = random.choice(world.of(person).todoist.projects)
    label, priority = random.choice(words.LABELS), random.choice(words.PRIORITIES)
    alike = [task for task in project.tasks if task.priority == priority and not task.done]
    chosen = [task for task in alike if label not in task.labels]
    if len(chosen) < 2 or len(chosen) == len(alike):
        return None
    condition = (
        f't["priority"] == "{priority}" and not t["is_completed"] and "{label}" not in [l["name"] for l in t["labels"]]'
    )
    attach = write_each(
        "todoist",
        "add_label_to_task",
        "tasks",
        "task",
        (condition, f"priority {priority} that are open and lack the label {label}"),
        [
            f"Add the label '{label}' to the open {priority} priority tasks that lack it.",
            f"Label every open task of {priority} priority as '{label}' where it is not yet.",
        ],
        f"{len(chosen)} tasks labelled",
        task_id='task["task_id"]',
        label_id='label["label_id"]',
    )
    return Draft(
        [
            f"Put the label '{label}' on every open {priority} priority task of my Todoist project '{project.name}'.",
            f"All {priority} priority tasks in my Todoist project '{project.name}' that are not completed should have "
            f"the label '{label}'.",
            f"Make sure that each uncompleted task of {priority} priority in the Todoist project '{project.name}' is "
            f"labelled '{label}'; some are already.",
        ],
        {"project": project.name, "label": label, "priority": priority},
        [login_step("todoist"), collect_tasks(project), find_label(label), attach],
        rows={"added todoist.TaskLabelLink": [(task.title, project.name, person.email, label) for task in chosen]},
    )


@template(
    2,
    "todoist",
    challenge=True,
    expects=[updated("todoist.Task", "title", "project.name", "project.user.email", "due_date", only=["due_date"])],
)
def todoist_schedule(world: Contents, person: Person, random: Random) -> Draft | None:
    """Gives a due date to the open tasks of a project that have none."""
    project = random.choice(world.of(person).todoist.projects)
    day = date(2023, random.randint(6, 12), random.randint(1, 28))
    chosen = [task for task in project.tasks if task.due is None and not task.done]
    if len(chosen) < 2:
        return None
    schedule = write_each(
        "todoist",
        "update_task",
        "tasks",
        "task",
        ('not t["is_completed"] and not t["due_date"]', "no due_date that are not completed"),
        [
            f"Set the due date {day} for the open tasks without one.",
            f"Make {day} the due date where an open task has none.",
        ],
        f"{len(chosen)} tasks scheduled",
        task_id='task["task_id"]',
        due_date=quoted(str(day)),
    )
    return Draft(
        [
            f"Give every open task of my Todoist project '{project.name}' that has no due date the due date {day}.",
            f"Set {day} as the due date of all uncompleted tasks without one in my Todoist project '{project.name}'.",
            f"In the Todoist project '{project.name}' some of my open tasks have no due date. Make it {day} for them.",
        ],
        {"project": project.name, "day": str(day)},
        [login_step("todoist"), collect_tasks(project), schedule],
        rows={"updated todoist.Task": [(t.title, project.name, person.email, f"{day}T00:00:00") for t in chosen]},
    )


@template(3, "todoist", "simple_note", "gmail", challenge=True, expects=[NOTE_CREATED, *EMAIL_SENT])
def project_report(world: Contents, person: Person, random: Random) -> Draft | None:
    """Writes a project's open tasks of a priority into a note and emails them."""
    project, priority = random.choice(world.of(person).todoist.projects), random.choice(words.PRIORITIES)
    receiver, title = random.choice(world.strangers).email, f"{project.name} {priority} report"
    chosen = sorted(task.title for task in project.tasks if task.priority == priority and not task.done)
    if not 2 <= len(chosen) <= 6:
        return None
    select = step(
        "compute",
        "todoist",
        [
            f"Sort the titles of the open {priority} priority tasks.",
            f"Sort the open {priority} tasks' titles in titles.",
        ],
        f"keep the open tasks of priority {priority}, leave their sorted titles in titles, joined by lines in report",
        [
            keep("tasks", f't["priority"] == "{priority}" and not t["is_completed"]'),
            'titles = sorted(m["title"] for m in matches)',
            r'report = "\n".join(titles)',
            "print(titles[0])",
        ],
        chosen[0],
    )
    collect = [login_step("todoist"), collect_tasks(project), select]
    write = [login_step("simple_note"), create_note(title, "titles")]
    what = f"the open {priority} priority tasks of my Todoist project '{project.name}'"
    return Draft(
        [
            f"Write the titles of {what}, sorted alphabetically, one a line, into a new Simple Note note '{title}' "
            f"and email the same text to {receiver} with the subject '{title}'.",
            f"List {what} by title in alphabetical order, one a line: as a Simple Note note '{title}' and as an email "
            f"to {receiver}, subject '{title}'.",
            f"{receiver} needs the alphabetical list of the titles of {what}, one a line. Email it, subject "
            f"'{title}', and keep the same text in a new Simple Note note '{title}'.",
        ],
        {"project": project.name, "priority": priority, "title": title, "email": receiver},
        [*collect, *write, login_step("gmail"), send_email(receiver, title, "report")],
        rows={
            "added simple_note.Note": [(title, "\n".join(chosen), person.email)],
            "added gmail.Email": [(person.email, [receiver], title, "\n".join(chosen))],
        },
    )
