from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from prost_lightning.errors import UserError
from prost_lightning.report import comparison_table, metrics, summarise
from prost_lightning.trajectory import CheckedSubTask, Outcome, SubTask, Trajectory, Usage


def episode(
    task_id: str,
    success: bool,
    accepted: tuple[bool, ...] = (),
    world: str = "mini:seed7:0",
    checked: tuple[CheckedSubTask, ...] = (),
) -> Trajectory:
    return Trajectory(
        task_id=task_id,
        world=world,
        split="dev",
        agents="team",
        policy="p",
        seed=0,
        instruction="",
        difficulty=1,
        sub_tasks=[SubTask(i, "login", [], "", "", accepted=ok) for i, ok in enumerate(accepted, start=1)],
        conversations=[],
        steps=[],
        outcome=Outcome(success, "completed" if success else "policy_error", sub_tasks=list(checked)),
        usage={"orchestrator": Usage(2, 100, 10, 5e9, 0.5), "executor": Usage(1, 50, 20, 1e9, 0.25)},
    )


EPISODES = [
    episode("aaaaaaa_1", True, (True, True)),
    episode("aaaaaaa_2", True, (True,)),
    episode("bbbbbbb_1", True, (True,)),
    episode("bbbbbbb_2", False, (True, False)),
]


def test_summary() -> None:
    summary = summarise(EPISODES, seconds=12.0)
    assert (summary["tasks"], summary["tgc"], summary["sgc"]) == (4, 75.0, 50.0)
    assert (summary["llm_calls"], summary["prompt_tokens"], summary["completion_tokens"]) == (12, 600, 120)
    assert (summary["flops"], summary["flops_per_task"], summary["seconds"]) == (24e9, 6e9, 12.0)
    assert summary["not_accepted_rate"] == pytest.approx(1 / 6)
    assert summary["sub_task_error_rate"] is None
    assert summary["end_reasons"] == {"completed": 3, "policy_error": 1}
    assert summary["roles"]["executor"]["prompt_tokens"] == 200
    assert set(summary["roles"]) == {"orchestrator", "executor"}


def test_without_wall_seconds_the_model_s_are_reported() -> None:
    assert summarise(EPISODES)["seconds"] == 3.0


def test_episodes_are_left_as_they_are() -> None:
    summarise(EPISODES)
    assert EPISODES[0].usage["executor"].llm_calls == 1


def test_metrics_are_flat_numbers() -> None:
    flat = metrics(summarise(EPISODES))
    assert flat["eval/tgc"] == 75.0
    assert flat["eval/executor/completion_tokens"] == 80.0
    assert flat["eval/end/policy_error"] == 1.0
    assert all(isinstance(value, float) for value in flat.values())


def test_no_sub_tasks_is_not_an_error_rate_of_zero() -> None:
    summary = summarise([episode("aaaaaaa_1", False)])
    assert summary["sub_task_error_rate"] is summary["not_accepted_rate"] is None
    assert not {"eval/sub_task_error_rate", "eval/not_accepted_rate"} & set(metrics(summary))


def test_measured_sub_task_errors_are_those_of_the_reference_solutions() -> None:
    done = CheckedSubTask(1, "login", ["venmo"], passed=True)
    failed = CheckedSubTask(2, "write", ["venmo", "phone"], passed=False)
    episodes = [
        episode("aaaaaaa_1", True, (True,), checked=(done, CheckedSubTask(2, "write", ["phone"], passed=True))),
        episode("aaaaaaa_2", False, (True,), checked=(done, failed)),
    ]
    summary = summarise(episodes)
    assert (summary["sub_task_error_rate"], summary["not_accepted_rate"]) == (0.25, 0.0)
    assert summary["sub_task_errors"] == {
        "kind": {"login": 0.0, "write": 0.5},
        "app": {"phone": 0.5, "venmo": pytest.approx(1 / 3)},
        "position": {"01": 0.0, "02": 0.5},
    }
    flat = metrics(summary)
    assert flat["eval/sub_task_error_rate"] == 0.25
    assert flat["eval/sub_task_errors/kind/write"] == 0.5
    assert "eval/active_sub_task_error_rate" not in flat

    # A curriculum has opened the second episode's sub-tasks and the first one of the first.
    summary = summarise(episodes, active=[True, False, True, True])
    assert metrics(summary)["eval/active_sub_task_error_rate"] == pytest.approx(1 / 3)
    assert summarise(episodes, active=[False] * 4)["active_sub_task_error_rate"] is None


def test_mixed_worlds_and_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="different worlds"):
        summarise([*EPISODES, episode("ccccccc_1", True, world="official:0.1.0")])
    with pytest.raises(UserError, match="Task aaaaaaa_1 occurs 2 times"):
        summarise([*EPISODES, EPISODES[0]])
    with pytest.raises(UserError, match="no episodes"):
        summarise([])


def test_the_table_names_the_world_and_shows_both_columns() -> None:
    console = Console(file=StringIO(), width=100)
    summary = summarise(EPISODES)
    console.print(comparison_table({"before": summary | {"tgc": 0.0}, "after": summary}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    older = {name: value for name, value in summary.items() if name != "not_accepted_rate"}
    console.print(comparison_table({"before": older}))
    for word in ("mini:seed7:0", "before", "after", "75.0", "0.0", "17%"):
        assert word in text
