"""Writes Todoist."""

from __future__ import annotations

from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.writers.tables import SEARCH, Row, Tables, ago, midnight


def write_todoist(tables: Tables, contents: Contents) -> None:
    """Writes projects, sections, labels, tasks and sub-tasks."""
    accounts = [(person.id, contents.of(person).todoist) for person in contents.supervisors]
    rows: list[Row] = []
    links: list[Row] = []
    for person in contents.supervisors:
        user_id, account = person.id, contents.of(person).todoist
        who = f"{person.name} {person.email}"
        rows.append(
            {
                "user_id": user_id,
                "name": "Inbox",
                "is_inbox": True,
                "created_at": ago(300),
                SEARCH: f"Inbox {who}",
            }
        )
        links.append({"project_id": account.inbox_id, "user_id": user_id})
        for place, project in enumerate(account.projects):
            rows.append(
                {
                    "user_id": user_id,
                    "name": project.name,
                    "created_at": ago(60 + place),
                    SEARCH: f"{project.name} {who}",
                }
            )
            links.append({"project_id": project.id, "user_id": user_id, "is_favorite": project.favorite})
    tables.save("Project", rows)
    tables.save("ProjectCollaboratorLink", [{**link, "created_at": ago(60)} for link in links])
    tables.save(
        "Section",
        [
            {"project_id": project.id, "name": name, "order_index": place, "created_at": ago(50)}
            for _, account in accounts
            for project in account.projects
            for place, (_, name) in enumerate(project.sections)
        ],
    )
    tables.save("Label", [{"user_id": user_id, "name": name} for user_id, a in accounts for _, name in a.labels])
    _write_tasks(tables, contents)


def _write_tasks(tables: Tables, contents: Contents) -> None:
    tasks: list[Row] = []
    sub_tasks: list[Row] = []
    label_links: list[Row] = []
    for person in contents.supervisors:
        account = contents.of(person).todoist
        label_ids = {name: number for number, name in account.labels}
        for project in account.projects:
            section_ids = {name: number for number, name in project.sections}
            for place, task in enumerate(project.tasks):
                tasks.append(
                    {
                        "project_id": project.id,
                        "section_id": section_ids[task.section] if task.section else None,
                        "user_id": person.id,
                        "title": task.title,
                        "priority": task.priority,
                        "is_completed": task.done,
                        "due_date": midnight(task.due) if task.due else None,
                        "order_index": place,
                        "created_at": ago(40),
                    }
                )
                sub_tasks.extend(
                    {
                        "task_id": task.id,
                        "title": part.title,
                        "priority": task.priority,
                        "is_completed": part.done,
                        "order_index": index,
                        "created_at": ago(35),
                    }
                    for index, part in enumerate(task.sub_tasks)
                )
                label_links.extend({"task_id": task.id, "label_id": label_ids[name]} for name in task.labels)
    tables.save("Task", tasks)
    tables.save("SubTask", sub_tasks)
    tables.save("TaskLabelLink", label_links)
