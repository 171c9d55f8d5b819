"""Fixtures shared by all tests: one generated world, the real small model, and a tiny random one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from prost_lightning.trajectory import Conversation, Message, Outcome, SubTask, Trajectory

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before PyTorch is imported: the processes share the cores, so each does its sums in one thread.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


MINI_WORLD: dict[str, Any] = {
    "seed": 11,
    "train": 12,
    "dev": 12,
    "test_normal": 12,
    "test_challenge": 9,
    # Two simple ones first, as in the quickstart; all difficulties in every split.
    "templates": (
        "spotify_extreme_song",
        "spotify_like_long_songs",
        "venmo_total",
        "note_to_project",
        "phone_text_contact",
        "spotify_artist_playlist",
        "email_note",
    ),
    "supervisors": 6,
}
"""The tests' world, in the words of ``OracleTrajectories``."""


@pytest.fixture
def lightning_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], list[str]]]:
    """Returns what was said through Lightning's logger so far, however early Lightning was imported."""
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "propagate", True)
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        yield lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture(scope="session")
def mini_world() -> Path:
    """Root of a small generated world, built once and cached between test runs."""
    from prost_lightning.cache import cache_root
    from prost_lightning.miniworld.build import Recipe, WorldSize, build_world
    from prost_lightning.miniworld.fingerprint import generator_fingerprint

    root = cache_root() / "worlds" / f"tests-seed11-{generator_fingerprint()}"
    size = WorldSize(**{split: MINI_WORLD[split] for split in WorldSize.__struct_fields__})
    others = {name: MINI_WORLD[name] for name in ("seed", "templates", "supervisors")}
    return build_world(root, Recipe(size=size, **others))


@pytest.fixture(scope="session")
def mini_world_settings() -> dict[str, Any]:
    """How a configuration must describe the world of :func:`mini_world`."""
    return {**MINI_WORLD, "templates": list(MINI_WORLD["templates"])}


@pytest.fixture(scope="session")
def smollm2() -> str:
    """Name of the real SmolLM2-135M-Instruct, fetched into the cache on first use."""
    from prost_lightning.modules.qlora import resolve_model

    name = "smollm2-135m-instruct"
    resolve_model(name)
    return name


@pytest.fixture(scope="session")
def tiny_model(smollm2: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer random Llama that has SmolLM2's tokenizer and chat template: all code paths, little time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from prost_lightning.modules.qlora import load_tokenizer

    tokenizer = load_tokenizer(smollm2)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    directory = tmp_path_factory.mktemp("tiny-model")
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def make_trajectory() -> Callable[..., Trajectory]:
    """Makes a team's trajectory of any number of sub-tasks, without engine or model."""

    def make(n: int, *, task_id: str = "0000000_1", words: int = 4, success: bool = True) -> Trajectory:
        def system(role: str) -> Message:
            return Message("system", f"You are the {role}.")

        positions = range(1, n + 1)
        orchestrator = [system("orchestrator"), Message("user", f"Task {task_id}")]
        for position in positions:
            orchestrator += [
                Message("assistant", f"SUBTASK {position} " + "do this " * words, position),
                Message("user", f"RESULT: {position}"),
            ]
        orchestrator.append(Message("assistant", "FINISH: 7", n))
        conversations = [Conversation("orchestrator", orchestrator)]
        for position in positions:
            executor = [
                system("executor"),
                Message("user", f"Goal {position}"),
                Message("assistant", f"wrong = {position}", position, train=False),
                Message("user", "REJECTED: wrong"),
                Message("assistant", f"print({position}) " + "# and so on " * words, position),
                Message("user", f"OUTPUT:\n{position}"),
                Message("assistant", f"RESULT: {position}", position),
            ]
            critic = [system("critic"), Message("user", f"Goal {position}"), Message("assistant", "ACCEPT", position)]
            conversations += [Conversation("executor", executor), Conversation("critic", critic)]
        return Trajectory(
            task_id=task_id,
            world="mini:seed0:00000000",
            split="train",
            agents="team",
            policy="synthetic",
            seed=0,
            instruction=f"Task {task_id}",
            sub_tasks=[
                SubTask(position=position, kind="other", apps=[], goal=f"Goal {position}", plan="")
                for position in positions
            ],
            conversations=conversations,
            steps=[],
            outcome=Outcome(success=success, end_reason="completed"),
        )

    return make
