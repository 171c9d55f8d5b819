"""What a set of episodes came to, in figures and as a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from prost_lightning.appworld.evaluate import TaskResult, scenario_goal_completion, task_goal_completion
from prost_lightning.errors import UserError
from prost_lightning.trajectory import ROLES, Trajectory, Usage

Summary = dict[str, Any]


def summarise(
    trajectories: Sequence[Trajectory], seconds: float | None = None, active: Iterable[bool] | None = None
) -> Summary:
    """Sums episodes up.

    Args:
        trajectories: Episodes of one world and split, one a task.
        seconds: Wall seconds that playing them took. Without it, the seconds spent inside the model are reported, since
            the wall seconds of episodes that ran side by side cannot be added.
        active: Which of the reference solutions' sub-tasks, episode by episode, a curriculum has opened so far.

    Returns:
        A JSON-like dict. ``world``, ``split``, ``agents``, ``policy``, ``seed``: what was played. ``tasks``: number of
        episodes. ``tgc``, ``sgc``: task and scenario goal completion in percent. ``llm_calls``, ``prompt_tokens``,
        ``completion_tokens``, ``flops``, ``seconds``: totals. ``flops_per_task``. ``roles``: the same totals by role.
        ``sub_task_error_rate``: share (0..1) of the reference solutions' sub-tasks whose machine check fails, None
        where the world has none to check; ``active_sub_task_error_rate``: the same of those that are ``active``, None
        if it is not said or none is; ``sub_task_errors``: the same by ``kind``, ``app`` and ``position``.
        ``not_accepted_rate``: share of the sub-tasks handed out that the critic did not accept, None if none was
        handed out. ``end_reasons``: number of episodes by end reason.

    Raises:
        UserError: There are no episodes, they mix worlds or splits, or a task occurs twice.
    """
    if not trajectories:
        raise UserError("There are no episodes to sum up; run `python -m prost_lightning evaluate` first.")
    worlds = {(episode.world, episode.split) for episode in trajectories}
    if len(worlds) > 1:
        raise UserError(f"Episodes of different worlds or splits cannot be summed up: {sorted(worlds)}; separate them.")
    task_id, times = Counter(episode.task_id for episode in trajectories).most_common(1)[0]
    if times > 1:
        raise UserError(f"Task {task_id} occurs {times} times, so these are episodes of several runs; separate them.")
    first = trajectories[0]
    results = [
        TaskResult(
            task_id=episode.task_id,
            success=episode.outcome.success,
            passes=episode.outcome.passes,
            failures=tuple(episode.outcome.failures),
            difficulty=episode.difficulty,
        )
        for episode in trajectories
    ]
    roles = {role: Usage() for role in ROLES if any(role in episode.usage for episode in trajectories)}
    total = Usage()
    for episode in trajectories:
        for role, usage in episode.usage.items():
            roles[role].add(usage)
            total.add(usage)
    handed_out = [sub_task for episode in trajectories for sub_task in episode.sub_tasks]
    checked = [sub_task for episode in trajectories for sub_task in episode.outcome.sub_tasks]
    opened = [] if active is None else [sub_task for sub_task, is_open in zip(checked, active, strict=True) if is_open]
    return {
        "world": first.world,
        "split": first.split,
        "agents": first.agents,
        "policy": first.policy,
        "seed": first.seed,
        "tasks": len(trajectories),
        "tgc": task_goal_completion(results),
        "sgc": scenario_goal_completion(results),
        "llm_calls": total.llm_calls,
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "flops": total.flops,
        "flops_per_task": total.flops / len(trajectories),
        "seconds": total.seconds if seconds is None else seconds,
        "sub_task_error_rate": _failed_share(sub_task.passed for sub_task in checked),
        "active_sub_task_error_rate": _failed_share(sub_task.passed for sub_task in opened),
        "sub_task_errors": {
            "kind": _failed_shares((sub_task.kind, sub_task.passed) for sub_task in checked),
            "app": _failed_shares((app, sub_task.passed) for sub_task in checked for app in sub_task.apps),
            "position": _failed_shares((f"{sub_task.position:02d}", sub_task.passed) for sub_task in checked),
        },
        "not_accepted_rate": _failed_share(sub_task.accepted for sub_task in handed_out),
        "end_reasons": dict(Counter(episode.outcome.end_reason for episode in trajectories).most_common()),
        "roles": {
            role: {name: getattr(usage, name) for name in usage.__struct_fields__} for role, usage in roles.items()
        },
    }


def metrics(summary: Summary) -> dict[str, float]:
    """A summary's numbers by name, for loggers: ``eval/tgc``, ``eval/executor/flops``, ``eval/end/<reason>``.

    Sub-task errors are ``eval/sub_task_error_rate``, with a curriculum ``eval/active_sub_task_error_rate``, and for
    instance ``eval/sub_task_errors/kind/login``.
    """
    names = (
        "tasks",
        "tgc",
        "sgc",
        "llm_calls",
        "prompt_tokens",
        "completion_tokens",
        "flops",
        "flops_per_task",
        "seconds",
    )
    flat = {f"eval/{name}": float(summary[name]) for name in names}
    for name in ("sub_task_error_rate", "active_sub_task_error_rate", "not_accepted_rate"):
        if summary[name] is not None:
            flat[f"eval/{name}"] = summary[name]
    for division, shares in summary["sub_task_errors"].items():
        flat |= {f"eval/sub_task_errors/{division}/{part}": share for part, share in shares.items()}
    flat |= {f"eval/end/{reason}": float(count) for reason, count in summary["end_reasons"].items()}
    for role, usage in summary["roles"].items():
        flat |= {f"eval/{role}/{name}": float(value) for name, value in usage.items()}
    return flat


def comparison_table(summary: Mapping[str, Any]) -> Table:
    """A run's figures before and after training, side by side.

    Args:
        summary: As in ``summary.json``: summaries under ``before``, ``after`` or both.
    """
    return summary_table({name: summary[name] for name in ("before", "after") if name in summary})


def summary_table(summaries: Mapping[str, Summary]) -> Table:
    """Summaries side by side.

    Args:
        summaries: By column heading; at least one.
    """
    first = next(iter(summaries.values()))
    table = Table(title=f"{first['tasks']} tasks of {first['split']} in world {first['world']}")
    table.add_column("")
    for heading in summaries:
        table.add_column(heading, justify="right")
    for name, render in _ROWS.items():
        table.add_row(name, *(render(summary) for summary in summaries.values()))
    return table


def _failed_share(passed: Iterable[bool]) -> float | None:
    verdicts = list(passed)
    return verdicts.count(False) / len(verdicts) if verdicts else None


def _failed_shares(verdicts: Iterable[tuple[str, bool]]) -> dict[str, float]:
    """Share that failed, by part, in alphabetical order."""
    parts: dict[str, list[bool]] = defaultdict(list)
    for part, passed in verdicts:
        parts[part].append(passed)
    return {part: passed.count(False) / len(passed) for part, passed in sorted(parts.items())}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"


_ROWS: dict[str, Callable[[Summary], str]] = {
    "task goal completion (%)": lambda item: f"{item['tgc']:.1f}",
    "scenario goal completion (%)": lambda item: f"{item['sgc']:.1f}",
    "model calls": lambda item: f"{item['llm_calls']:,}",
    "prompt tokens": lambda item: f"{item['prompt_tokens']:,}",
    "completion tokens": lambda item: f"{item['completion_tokens']:,}",
    "forward TFLOP": lambda item: f"{item['flops'] / 1e12:.2f}",
    "seconds": lambda item: f"{item['seconds']:.1f}",
    "reference sub-tasks failed": lambda item: _percent(item["sub_task_error_rate"]),
    "sub-tasks not accepted": lambda item: _percent(item.get("not_accepted_rate")),
    "how episodes ended": lambda item: "\n".join(f"{count} {reason}" for reason, count in item["end_reasons"].items()),
}
