from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from prost_lightning.datamodules import corpus as corpus_module
from prost_lightning.datamodules.corpus import FAILED, Corpus, load_corpus
from prost_lightning.datamodules.tokenize import tokenize
from prost_lightning.errors import UserError
from prost_lightning.modules.qlora import load_tokenizer
from prost_lightning.trajectory import ROLES, Trajectory, encode, write_trajectories


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def trajectories(make_trajectory: Callable[..., Trajectory]) -> list[Trajectory]:
    return [make_trajectory(n, task_id=f"000000{n}_1", success=n != 2) for n in (1, 2, 3)]


@pytest.fixture
def file(trajectories: list[Trajectory], tmp_path: Path) -> Path:
    write_trajectories(tmp_path / "trajectories.jsonl", trajectories)
    return tmp_path / "trajectories.jsonl"


@pytest.fixture
def load(file: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> Callable[..., Corpus]:
    def load(**arguments: Any) -> Corpus:
        return load_corpus(**{"path": file, "tokenizer": tokenizer, "cache_dir": tmp_path / "cache"} | arguments)

    return load


@pytest.fixture
def tokenisations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many conversations each call of the tokenizer got."""
    calls: list[int] = []

    def counted(conversations: Any, tokenizer: PreTrainedTokenizerBase) -> Iterator[Any]:
        calls.append(len(conversations))
        return tokenize(conversations, tokenizer)

    monkeypatch.setattr(corpus_module, "tokenize", counted)
    return calls


def test_rows_are_the_conversations_of_successful_trajectories(
    load: Callable[..., Corpus], trajectories: list[Trajectory], tokenizer: PreTrainedTokenizerBase
) -> None:
    corpus = load()
    expected = [(index, conversation) for index in (0, 2) for conversation in trajectories[index].conversations]
    role = corpus.column("role")
    rows = np.flatnonzero(role != FAILED)
    assert [ROLES[code] for code in role[rows]] == [conversation.role for _, conversation in expected]
    assert corpus.column("trajectory")[rows].tolist() == [index for index, _ in expected]
    first = np.concatenate([[0], np.cumsum(corpus.turns)])
    for row, sequence in zip(rows.tolist(), tokenize([c for _, c in expected], tokenizer), strict=True):
        assert corpus[row].tolist() == sequence.input_ids.tolist()
        turns = slice(first[row], first[row + 1])
        assert corpus.turn_column("turn_start")[turns].tolist() == [span.start for span in sequence.spans]
        assert corpus.turn_column("turn_position")[turns].tolist() == [span.position for span in sequence.spans]
    assert corpus.column("trajectory")[role == FAILED].tolist() == [1]
    assert corpus.task_ids == {index: trajectory.task_id for index, trajectory in enumerate(trajectories)}


def test_tokens_are_made_once_for_the_same_content(
    load: Callable[..., Corpus], file: Path, tokenisations: list[int], tokenizer: PreTrainedTokenizerBase
) -> None:
    content = load().content
    made = len(tokenisations)
    assert made > 0
    elsewhere = file.with_name("copy.jsonl")
    elsewhere.write_bytes(file.read_bytes())
    assert load(path=elsewhere).content == content
    assert len(tokenisations) == made
    # Other trajectories are other content, and so is another chat template if it makes other tokens.
    elsewhere.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    assert len({content, load(path=elsewhere).content}) == 2
    template = tokenizer.chat_template
    try:
        tokenizer.chat_template = template + "{# the same tokens #}"
        again = len(tokenisations)
        assert load().content == content
        assert len(tokenisations) > again
        tokenizer.chat_template = template.replace("<|im_start|>", "<|im_end|>")
        assert load().content != content
    finally:
        tokenizer.chat_template = template


def test_what_several_processes_make_is_the_same(
    load: Callable[..., Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "_LINES_IN_PART", 1)
    one, two = load(), load(cache_dir=tmp_path / "other", processes=2)
    assert one.content == two.content
    assert one.column("trajectory").tolist() == two.column("trajectory").tolist()
    assert all(one[row].tolist() == two[row].tolist() for row in range(len(one)))


def _killed(load: Callable[..., Corpus]) -> None:
    def kill(*_: Any) -> Iterator[Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield

    corpus_module.tokenize = kill
    load()


def test_a_killed_call_leaves_nothing_that_looks_finished(load: Callable[..., Corpus]) -> None:
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(load,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(load()) > 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no trajectory in it"),
        (b"\n\n", "no trajectory in it"),
        (b'\n{"task_id": 1}\n', r"trajectories\.jsonl:2: "),
    ],
)
def test_a_bad_file_is_named(load: Callable[..., Corpus], file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    with pytest.raises(UserError, match=says):
        load()


def test_blank_lines_are_no_trajectories(
    load: Callable[..., Corpus], file: Path, trajectories: list[Trajectory]
) -> None:
    file.write_bytes(b"\n" + encode(trajectories[0]) + b"\n" + encode(trajectories[2]))
    assert sorted(load().task_ids) == [0, 1]
