"""Scenarios about Todoist alone."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.todoist import Project
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.expectations import updated
from prost_lightning.miniworld.scenarios.steps import call, find, login_step, step, write_each
from prost_lightning.miniworld.script import ScriptStep


def find_project(project: Project) -> list[str]:
    """The lines that leave a Todoist project in ``project``."""
    return find("todoist", "show_projects", "projects", "project", "name", project.name)


def collect_tasks(project: Project) -> ScriptStep:
    """The sub-task that leaves all tasks of a Todoist project, those in sections too, in ``tasks``."""
    return step(
        "collect",
        "todoist",
        [
            f"Get all tasks of the Todoist project '{project.name}', those in sections too.",
            f"Collect every task in the Todoist project '{project.name}' with all its sections.",
        ],
        f"find '{project.name}' by its exact name, call show_tasks, join no_section_tasks and each section's tasks",
        [
            *find_project(project),
            "shown = " + call("todoist", "show_tasks", project_id='project["project_id"]'),
            'tasks = shown["no_section_tasks"] + [t for s in shown["sections"] for t in s["tasks"]]',
            'print(len(tasks), "tasks")',
        ],
        f"{len(project.tasks)} tasks",
    )


@template(
    2,
    "todoist",
    expects=[
        updated("todoist.Task", "title", "project.name", "project.user.email", "is_completed", only=["is_completed"])
    ],
)
def todoist_complete_tasks(world: Contents, person: Person, random: Random) -> Draft | None:
    """Completes the open tasks of a priority in a project."""
    project = random.choice(world.of(person).todoist.projects)
    priority = random.choice(words.PRIORITIES)
    chosen = [task for task in project.tasks if task.priority == priority and not task.done]
    if not 2 <= len(chosen) <= 5:
        return None
    complete = write_each(
        "todoist",
        "update_task",
        "tasks",
        "task",
        (f't["priority"] == "{priority}" and not t["is_completed"]', f"priority {priority} that are not completed"),
        [
            f"Mark the open {priority} priority tasks as completed.",
            f"Complete every task that has {priority} priority and is still open.",
        ],
        f"{len(chosen)} tasks completed",
        task_id='task["task_id"]',
        is_completed="True",
    )
    return Draft(
        [
            f"Mark all {priority} priority tasks of my Todoist project '{project.name}' as completed.",
            f"Complete every task with {priority} priority in my Todoist project '{project.name}'.",
            f"In the Todoist project '{project.name}', set all my {priority} priority tasks to completed.",
        ],
        {"project": project.name, "priority": priority},
        [login_step("todoist"), collect_tasks(project), complete],
        rows={"updated todoist.Task": [(task.title, project.name, person.email, True) for task in chosen]},
    )
