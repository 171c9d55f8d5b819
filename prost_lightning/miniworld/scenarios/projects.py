"""Scenarios about Todoist projects."""

from __future__ import annotations

from random import Random
from textwrap import dedent

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import TaskDraft, Template, login_step, without_token
from prost_lightning.miniworld.script import Mistake, ScriptStep


def find_project(name: str) -> str:
    """The line that searches a Todoist project; the best match comes first in ``projects``."""
    return f'projects = apis.todoist.show_projects(query="{name}", access_token=todoist_token)\n'


def _draft_complete_tasks(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    project, other = random.sample(contents.of(person).projects, 2)
    priority = random.choice(words.PRIORITIES)
    chosen = [task for task in project.tasks if task.priority == priority]
    if not 2 <= len(chosen) <= 5:
        return None

    def show(name: str) -> str:
        return (
            find_project(name)
            + 'tasks = apis.todoist.show_tasks(project_id=projects[0]["project_id"], access_token=todoist_token)\n'
            + 'print(projects[0]["name"], "has", len(tasks["no_section_tasks"]), "tasks")'
        )

    complete_code = (
        f'matches = [t for t in tasks["no_section_tasks"] if t["priority"] == "{priority}"]\n'
        "for task in matches:\n"
        '    apis.todoist.update_task(task_id=task["task_id"], is_completed=True, access_token=todoist_token)\n'
        'print(len(matches), "tasks completed")'
    )
    wording = random.choice(
        (
            f"Mark all {priority} priority tasks of my Todoist project '{project.name}' as completed.",
            f"Complete every task with {priority} priority in my Todoist project '{project.name}'.",
        )
    )
    find = ScriptStep(
        kind="collect",
        apps=["todoist"],
        goals=[
            f"Get the tasks of the Todoist project '{project.name}'.",
            f"Collect all tasks in the Todoist project '{project.name}'.",
        ],
        plans=[
            f"Find '{project.name}' with show_projects, then call show_tasks with its project_id.",
            f"Take project_id of '{project.name}' from show_projects; keep show_tasks in tasks.",
        ],
        lookups=[("todoist", "show_projects"), ("todoist", "show_tasks")],
        code=show(project.name),
        result=f"{project.name} has {len(project.tasks)} tasks",
        mistakes=[
            Mistake("wrong_argument", show(other.name), f"It reads the project '{other.name}', not '{project.name}'."),
            Mistake(
                "missing_login",
                without_token(show(project.name), "todoist"),
                "show_projects needs access_token=todoist_token.",
            ),
        ],
    )
    complete = ScriptStep(
        kind="write",
        apps=["todoist"],
        goals=[
            f"Mark the {priority} priority tasks as completed.",
            f"Complete every task that has {priority} priority.",
        ],
        plans=[
            f"Keep the tasks with priority {priority}, call update_task with is_completed=True for each.",
            f"Filter tasks by priority {priority}; set is_completed with update_task.",
        ],
        lookups=[("todoist", "update_task")],
        code=complete_code,
        result=f"{len(chosen)} tasks completed",
        mistakes=[
            Mistake(
                "missing_login",
                without_token(complete_code, "todoist"),
                "update_task needs access_token=todoist_token.",
            ),
            Mistake(
                "wrong_api",
                complete_code.replace("update_task(", "complete_task("),
                "todoist has no API complete_task; use update_task with is_completed=True.",
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"project": project.name, "priority": priority},
        private={"titles": sorted(task.title for task in chosen)},
        answer=None,
        steps=[login_step("todoist"), find, complete],
    )


TEMPLATES = (
    Template(
        name="todoist_complete_tasks",
        difficulty=2,
        apps=("todoist",),
        draft=_draft_complete_tasks,
        changes=("todoist.Task",),
        checks=dedent(
            """
            added, updated, removed = models.changed_records("todoist.Task")
            with test("exactly the right tasks of the right project were completed"):
                test.case(sorted(task.title for task in updated), "==", list(private_data.titles))
                test.case([task.project.name for task in updated], "all ==", public_data.project)
                test.case([task.project.user.email for task in updated], "all ==", main_user.email)
                test.case([task.is_completed for task in updated], "all ==", True)
                test.case(len(added) + len(removed), "==", 0)
            with test("nothing else of a task changed"):
                test.case(len(updated), ">", 0)
                for task in updated:
                    test.case(models.changed_field_names("todoist.Task", task.id), "==", {"is_completed"})
            """
        ),
    ),
)
