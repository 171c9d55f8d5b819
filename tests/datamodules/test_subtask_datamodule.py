from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from prost_lightning.curriculum import EpochsPerStage, Item
from prost_lightning.datamodules.collate import IGNORED
from prost_lightning.datamodules.subtask_datamodule import SubtaskDataModule
from prost_lightning.errors import UserError
from prost_lightning.modules.qlora import load_tokenizer
from prost_lightning.trajectory import Conversation, Message, Trajectory, write_trajectories

MakeTrajectory = Callable[..., Trajectory]
LENGTHS = (1, 2, 3, 3, 2, 1)
ROLES = ("orchestrator", "executor", "critic")


@pytest.fixture(scope="module")
def trajectories(make_trajectory: MakeTrajectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six trajectories of two scenarios, and in the middle a failed one."""
    file = tmp_path_factory.mktemp("data") / "trajectories.jsonl"
    made = [make_trajectory(n, task_id=f"{i // 3:07x}_{i % 3 + 1}", words=3 * i) for i, n in enumerate(LENGTHS)]
    write_trajectories(file, [*made[:3], make_trajectory(3, success=False), *made[3:]])
    return file


@pytest.fixture
def make_data(trajectories: Path, tiny_model: Path) -> Callable[..., SubtaskDataModule]:
    def make(**arguments: Any) -> SubtaskDataModule:
        arguments = {
            "trajectories": trajectories,
            "base_model": tiny_model,
            "val_share": 0.0,
            **arguments,
        }
        trainer = arguments.pop("trainer", None)
        data = SubtaskDataModule(**arguments)
        data.trainer = trainer
        data.setup("fit")
        return data

    return make


MakeData = Callable[..., SubtaskDataModule]


def items(visible: Callable[[int, int], bool], roles: tuple[str, ...] = ROLES) -> set[Item]:
    """All items for which ``visible(position, number of sub-tasks)``; line 3 is the failed trajectory."""
    return {
        Item(line, role, position)  # type: ignore[arg-type]
        for line, n in zip((0, 1, 2, 4, 5, 6), LENGTHS, strict=True)
        for role in roles
        for position in range(1, n + 1)
        if visible(position, n)
    }


@pytest.mark.parametrize(
    ("curriculum", "visible"),
    [
        ("progressive", lambda stage, position, n: position <= stage),
        ("reverse", lambda stage, position, n: position > n - stage),
    ],
)
def test_each_stage_shows_exactly_its_items(
    make_data: MakeData, curriculum: str, visible: Callable[[int, int, int], bool]
) -> None:
    data = make_data(curriculum=curriculum)
    assert (data.n_stages, data.stage) == (3, 1)
    for stage in (1, 2, 3):
        data.set_stage(stage)
        expected = items(lambda position, n, stage=stage: visible(stage, position, n))  # type: ignore[misc]
        assert data.active_items() == expected
        assert data.pool_items == len(expected)


def test_standard_fine_tuning_is_one_stage_with_everything(make_data: MakeData) -> None:
    data = make_data(curriculum="standard", n_stages=3)
    assert data.n_stages == 1
    assert data.active_items() == items(lambda position, n: True)


def test_random_order_grows_to_everything(make_data: MakeData) -> None:
    data = make_data(curriculum="random", seed=5)
    pools = []
    for stage in (1, 2, 3):
        data.set_stage(stage)
        pools.append(data.active_items())
    assert pools[0] < pools[1] < pools[2] == items(lambda position, n: True)
    assert pools[0] != items(lambda position, n: position <= 1)
    tokens = [len(pool) for pool in pools]
    assert tokens == [18, 30, 36]


def test_only_the_roles_that_are_asked_for(make_data: MakeData) -> None:
    data = make_data(roles=["critic"])
    assert data.active_items() == items(lambda position, n: position == 1, ("critic",))


def test_mistakes_carry_no_labels(make_data: MakeData) -> None:
    data = make_data(curriculum="standard", roles=["executor"])
    data.trainer = Trainer(accelerator="cpu", reload_dataloaders_every_n_epochs=1, logger=False)
    tokenizer = load_tokenizer(data.base_model)
    for batch in data.train_dataloader():
        labels = batch["labels"]
        labelled = tokenizer.decode(labels[labels != IGNORED])
        assert "RESULT" in labelled
        assert "wrong" not in labelled
        assert "wrong" in tokenizer.decode(batch["input_ids"][0])


def test_validation_holds_out_whole_scenarios_with_all_their_sub_tasks(make_data: MakeData) -> None:
    data = make_data(val_share=0.5)
    held_out = {item.trajectory for batch in data.val_dataloader() for item in batch["items"]}
    data.set_stage(data.n_stages)
    trained = {item.trajectory for item in data.active_items()}
    assert sorted((held_out, trained), key=min) == [{0, 1, 2}, {4, 5, 6}]
    validated = {item for batch in data.val_dataloader() for item in batch["items"]}
    assert validated | data.active_items() == items(lambda position, n: True)


def test_a_missing_or_partial_file_is_prepared(trajectories: Path, tiny_model: Path, tmp_path: Path) -> None:
    class Copy:
        def run(self, path: Path) -> None:
            path.write_bytes(trajectories.read_bytes())

    made = tmp_path / "made.jsonl"
    data = SubtaskDataModule(made, base_model=tiny_model, prepare=Copy())
    data.prepare_data()
    made.write_bytes(trajectories.read_bytes().splitlines(keepends=True)[0])
    data.prepare_data()
    assert made.read_bytes() == trajectories.read_bytes()
    data.setup("fit")
    assert data.n_stages >= 2


def test_without_held_out_trajectories_there_is_nothing_to_test_on(make_data: MakeData) -> None:
    with pytest.raises(UserError, match=r"data\.val_share is 0"):
        make_data(val_share=0.0).test_dataloader()


def test_too_long_turns_are_counted_named_and_limited(make_data: MakeData) -> None:
    with pytest.raises(
        UserError, match=r"of 54 turns are lost \(.*0000000_1 .* beyond max_tokens=30.*max_dropped_share"
    ):
        make_data(max_tokens=30, curriculum="standard")
    with pytest.warns(UserWarning, match="turns dropped: .*beyond max_tokens=100"):
        data = make_data(max_tokens=100, max_dropped_share=0.5, curriculum="standard")
    assert 0 < data.pool_items < 36


def test_turns_of_an_unknown_sub_task_count_to_the_last(
    make_trajectory: MakeTrajectory, make_data: MakeData, tmp_path: Path
) -> None:
    trajectory = make_trajectory(2)
    conversation = Conversation("single", [Message("user", "Go."), Message("assistant", "Gone.")])
    trajectory.conversations.append(conversation)
    alone = make_trajectory(1)
    alone.conversations[:], alone.sub_tasks[:] = [conversation], []
    write_trajectories(tmp_path / "single.jsonl", [trajectory, alone])

    data = make_data(trajectories=tmp_path / "single.jsonl", roles=["single"])
    assert data.active_items() == {Item(1, "single", 1)}
    data.set_stage(2)
    assert data.active_items() == {Item(0, "single", 2), Item(1, "single", 1)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"curriculum": "fast"}, "choose one of progressive, standard, reverse, random"),
        ({"roles": ["manager"]}, "name at least one of orchestrator"),
        ({"roles": []}, "name at least one of orchestrator"),
        ({"roles": ["single"]}, "no turn of single"),
        ({"n_stages": 4}, "there are 3 sub-tasks"),
        ({"replay": 2.0}, "replay is 2.0"),
        ({"window": 0}, "window is 0"),
        ({"val_share": 1.0}, "below 1"),
        ({"trajectories": "nowhere.jsonl"}, "prost_lightning collect"),
    ],
)
def test_bad_settings_say_what_to_do(make_data: MakeData, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_data(**arguments)


def test_failed_episodes_alone_are_no_training_data(
    make_trajectory: MakeTrajectory, make_data: MakeData, tmp_path: Path
) -> None:
    write_trajectories(tmp_path / "failed.jsonl", [make_trajectory(1, success=False)])
    with pytest.raises(UserError, match="none of its 1 trajectories is successful"):
        make_data(trajectories=tmp_path / "failed.jsonl")


def test_the_trainer_must_ask_for_a_loader_each_epoch(make_data: MakeData, tmp_path: Path) -> None:
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(UserError, match="reload_dataloaders_every_n_epochs must be 1"):
        trainer.fit(BoringModel(), make_data())


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_epochs": 5},
        {"max_epochs": 5, "accumulate_grad_batches": 3},
        {"max_epochs": 5, "accumulate_grad_batches": 3, "limit_train_batches": 4},
        {"max_epochs": 5, "limit_train_batches": 2},
        {"max_epochs": 5, "limit_train_batches": 0.5},
        {"max_epochs": 5, "max_steps": 7},
        {"max_epochs": -1, "max_steps": 9},
    ],
)
def test_total_steps_follow_the_growth(make_data: MakeData, arguments: dict[str, Any]) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **arguments)
    data = make_data(tokens_per_batch=150, growth=EpochsPerStage(2), trainer=trainer)
    accumulate, limit = trainer.accumulate_grad_batches, trainer.limit_train_batches
    steps: list[str] = []  # the role of each, as Lightning would take them
    lengths = []
    for epoch, stage in enumerate([1, 1, 2, 2, 3]):
        data.set_stage(stage)
        data.sampler.set_epoch(epoch)
        roles = [batch.role for batch in data.sampler]
        lengths.append(len(roles))
        roles = roles[: limit if isinstance(limit, int) else int(len(roles) * limit)]
        steps += roles[::accumulate]
    steps = steps[: trainer.max_steps] if trainer.max_steps > 0 else steps
    assert lengths[0] < lengths[4]
    assert data.total_optimizer_steps() == len(steps)
    assert data.optimizer_steps_by_role() == {role: steps.count(role) for role in ROLES}


def test_an_endless_run_has_no_schedule(make_data: MakeData) -> None:
    data = make_data()
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=-1)
    with pytest.raises(UserError, match=r"set trainer\.max_epochs"):
        data.total_optimizer_steps()
