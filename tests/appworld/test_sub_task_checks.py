"""Which sub-tasks of the reference solution an episode has done, by the logs of real episodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prost_lightning.appworld.blocking import BlockingPool, BlockingSession
from prost_lightning.appworld.evaluate import Evaluator
from prost_lightning.appworld.sub_task_checks import (
    ApiNames,
    api_names,
    check_sub_tasks,
    none_done,
    reference_sub_tasks,
    shows,
)

DOCUMENTS = {
    "spotify": {
        "login": {"method": "POST", "path": "/spotify/auth/token"},
        "show_song": {"method": "GET", "path": "/spotify/songs/{song_id}"},
        "show_liked_songs": {"method": "GET", "path": "/spotify/songs/liked"},
        "like_song": {"method": "POST", "path": "/spotify/songs/{song_id}/like"},
    }
}


@pytest.mark.parametrize(
    ("method", "url", "name"),
    [
        ("post", "/spotify/auth/token", "spotify.login"),
        ("get", "/spotify/songs/liked", "spotify.show_liked_songs"),
        ("GET", "http://testserver/spotify/songs/7/?page=2", "spotify.show_song"),
        ("post", "/spotify/songs/7/like", "spotify.like_song"),
        ("get", "/spotify/songs/7/like", None),
        ("get", "/spotify/songs//like", None),
        ("get", "nonsense", None),
    ],
)
def test_apis_are_named_by_method_and_path(method: str, url: str, name: str | None) -> None:
    assert ApiNames(DOCUMENTS).name(method, url) == name


def test_every_api_of_a_world_is_found_again(mini_world: Path) -> None:
    names = api_names(mini_world)
    for file in (mini_world / "data" / "api_docs" / "standard").glob("*.json"):
        for name, document in json.loads(file.read_bytes()).items():
            url = document["path"].replace("{", "").replace("}", "")
            assert names.name(document["method"], url) == f"{file.stem}.{name}"


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [("4 tasks", "4", True), ("14", "4", False), ("4.5", "4", False), ("it is 4.", "4", True), ("a\nB c", "B", True)],
)
def test_values_are_found_as_a_whole(text: str, value: str, found: bool) -> None:
    assert shows(text, value) is found


def test_a_solved_episode_has_done_every_sub_task(
    mini_world: Path,
    pool: BlockingPool,
    evaluator: Evaluator,
    task_ids: list[str],
    solve: Callable[[BlockingSession], None],
) -> None:
    with pool.open(task_ids[0], "sub-tasks-solved") as session:
        solve(session)
    result = evaluator.evaluate("sub-tasks-solved", task_ids[0])
    references = reference_sub_tasks(mini_world, task_ids[0])
    assert result.success
    assert [item.position for item in result.sub_tasks] == list(range(1, len(references) + 1))
    assert all(item.passed for item in result.sub_tasks)


def test_an_idle_episode_and_a_lost_one_have_done_none(
    mini_world: Path, pool: BlockingPool, evaluator: Evaluator, task_ids: list[str]
) -> None:
    with pool.open(task_ids[0], "sub-tasks-idle"):
        pass
    for experiment in ("sub-tasks-idle", "sub-tasks-never-played"):
        result = evaluator.evaluate(experiment, task_ids[0])
        assert list(result.sub_tasks) == none_done(mini_world, task_ids[0]) != []


def test_only_calls_that_succeeded_count(
    mini_world: Path, pool: BlockingPool, output_dir: Path, task_ids: list[str]
) -> None:
    with pool.open(task_ids[0], "sub-tasks-status") as session:
        session.execute("apis.spotify.login(username='nobody@example.com', password='wrong')")
        session.execute("print(apis.supervisor.show_profile())")
        session.execute("requester.get('no url')")
    episode = output_dir / "experiments/outputs/sub-tasks-status/tasks" / task_ids[0]
    log = [json.loads(line) for line in (episode / "logs" / "api_calls.jsonl").read_text().splitlines()]
    # What is no API's address never reaches the engine, and so is no call.
    assert [(call["url"], call.get("status")) for call in log] == [
        ("/spotify/auth/token", 401),
        ("/supervisor/profile", 200),
    ]
    assert not any(item.passed for item in check_sub_tasks(mini_world, task_ids[0], episode, solved=False))


def write_world(root: Path, calls: list[tuple[str, str]]) -> Path:
    documents = root / "data" / "api_docs" / "standard"
    documents.mkdir(parents=True)
    for app in ("spotify", "venmo", "supervisor"):
        apis = {
            "login": {"method": "POST", "path": f"/{app}/auth/token"},
            "show": {"method": "GET", "path": f"/{app}/items"},
            "change": {"method": "PATCH", "path": f"/{app}/items/{{item_id}}"},
        }
        (documents / f"{app}.json").write_text(json.dumps(apis))
    truth = root / "data" / "tasks" / "0000000_1" / "ground_truth"
    truth.mkdir(parents=True)
    (truth / "api_calls.json").write_text(
        json.dumps([{"method": method, "url": url, "data": {}} for method, url in calls])
    )
    return root


CALLS = [
    ("get", "/supervisor/items"),
    ("post", "/spotify/auth/token"),
    ("get", "/spotify/items"),
    ("get", "/spotify/items"),
    ("post", "/venmo/auth/token"),
    ("get", "/supervisor/items"),
    ("post", "/spotify/auth/token"),
    ("patch", "/spotify/items/3"),
    ("patch", "/spotify/items/4"),
]


def test_without_a_script_the_solution_s_calls_are_grouped_by_app(tmp_path: Path) -> None:
    references = reference_sub_tasks(write_world(tmp_path, CALLS), "0000000_1")
    assert [(item.position, item.kind, item.apps, item.calls) for item in references] == [
        (1, "collect", ("spotify",), ("spotify.login", "spotify.show")),
        (2, "login", ("venmo",), ("venmo.login",)),
        (3, "write", ("spotify",), ("spotify.login", "spotify.change")),
    ]
    assert reference_sub_tasks(tmp_path, "0000000_2") == []


def test_logs_that_appworld_did_not_write_are_harmless(tmp_path: Path) -> None:
    root = write_world(tmp_path / "world", CALLS)
    logs = tmp_path / "episode" / "logs"
    logs.mkdir(parents=True)

    def passed() -> list[bool]:
        return [item.passed for item in check_sub_tasks(root, "0000000_1", logs.parent, solved=False)]

    assert passed() == [False, False, False]
    call = {"method": "post", "url": "/venmo/auth/token", "data": 3, "status": 200}
    nonsense = [b"[" * 100_000, b"\xff\xfe", b"7", b'{"method": 3}']
    (logs / "api_calls.jsonl").write_bytes(b"\n".join([*nonsense, json.dumps(call).encode()]))
    assert passed() == [False, True, False]
    (logs / "api_calls.jsonl").rename(tmp_path / "elsewhere")
    (logs / "api_calls.jsonl").symlink_to(tmp_path / "elsewhere")
    assert passed() == [False, False, False]
