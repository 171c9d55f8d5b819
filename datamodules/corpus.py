"""A trajectory file as tokens on disk: tokenised once, kept by content, read by memory mapping.

Hugging Face ``datasets`` writes and maps the Arrow files: a killed write leaves nothing that looks finished, and of
several processes that want the same tokens one makes them and the others wait.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from prost_lightning.datamodules import tokenize as tokenize_module
from prost_lightning.datamodules.tokenize import tokenize
from prost_lightning.errors import UserError
from prost_lightning.trajectory import ROLES, Trajectory, decode

FAILED = -1
"""Role code of the one row, without tokens, that stands for an unsuccessful trajectory."""

_INTEGERS = datasets.List(datasets.Value("int32"))
_TEXTS = datasets.List(datasets.Value("string"))
_FEATURES = datasets.Features(
    {
        "trajectory": datasets.Value("int32"),
        "task_id": datasets.Value("string"),
        "role": datasets.Value("int8"),
        "difficulty": datasets.Value("int8"),
        "n_sub_tasks": datasets.Value("int32"),
        "digest": datasets.Value("int64"),
        "input_ids": _INTEGERS,
        "turn_start": _INTEGERS,
        "turn_end": _INTEGERS,
        "turn_position": _INTEGERS,
        "turn_kind": _TEXTS,
        "turn_app": _TEXTS,
    }
)

_LISTS = [name for name, feature in _FEATURES.items() if isinstance(feature, datasets.List)]

_LINES_AT_ONCE = 64
_LINES_IN_PART = 1024


@dataclass(frozen=True)
class FilePart:
    """Consecutive lines of a trajectory file.

    Attributes:
        offset: Byte at which the first line starts.
        line: Number of the first line, from 1.
        trajectory: Index of the first trajectory, from 0; blank lines are none.
        lines: How many lines.
    """

    offset: int
    line: int
    trajectory: int
    lines: int


class Corpus:
    """The conversations of a trajectory file, one a row, tokenised; also the token store of their sequence tables.

    Args:
        rows: One conversation each.
    """

    def __init__(self, rows: datasets.Dataset) -> None:
        self._rows = rows
        self._tokens = rows.select_columns("input_ids").with_format("numpy")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        """Tokens of a whole conversation, shape (T,)."""
        tokens: NDArray[np.int32] = self._tokens[row]["input_ids"]
        return tokens

    @cached_property
    def content(self) -> str:
        """Hash of all tokens. A checkpoint knows its data by it, whatever version of whatever package made them."""
        return hashlib.sha256(np.ascontiguousarray(self.column("digest")).data).hexdigest()

    def column(self, name: str) -> NDArray[Any]:
        """``trajectory``, ``role``, ``difficulty`` or ``n_sub_tasks`` of each conversation, shape (rows,)."""
        values: NDArray[Any] = self._rows.data.column(name).to_numpy()
        return values

    def turn_column(self, name: str) -> NDArray[np.int32]:
        """A number for each turn, shape (turns,): ``turn_start``, ``turn_end`` or ``turn_position``."""
        values: NDArray[np.int32] = pc.list_flatten(self._rows.data.column(name)).to_numpy()
        return values

    def turn_names(self, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """A text for each turn: ``turn_kind`` or ``turn_app``.

        Returns:
            Their indices in the sorted distinct texts, shape (turns,), and those.
        """
        flat = pc.list_flatten(self._rows.data.column(name))
        encoded = pa.chunked_array(flat.chunks, pa.string()).combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        ranks = np.argsort(np.argsort(names)).astype(np.int32) if names else np.zeros(0, np.int32)
        return ranks[encoded.indices.to_numpy()], tuple(sorted(names))

    @cached_property
    def turns(self) -> NDArray[np.int32]:
        """Number of turns of each conversation, shape (rows,)."""
        counts: NDArray[np.int32] = pc.list_value_length(self._rows.data.column("turn_start")).to_numpy()
        return counts

    @cached_property
    def task_ids(self) -> dict[int, str]:
        """The task of each trajectory by its index in the file, unsuccessful ones included."""
        trajectories = self.column("trajectory")
        _, first = np.unique(trajectories, return_index=True)
        names = self._rows.data.column("task_id").take(pa.array(first)).to_pylist()
        return dict(zip(trajectories[first].tolist(), names, strict=True))

    def describe(self, row: int) -> dict[str, Any]:
        """Everything about one conversation, by column."""
        return dict(self._rows[row])


def load_corpus(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, cache_dir: Path, processes: int | None = None
) -> Corpus:
    """Tokenises a trajectory file, or maps what an earlier call made of the same content.

    Args:
        path: A JSONL file.
        tokenizer: Tokenizer with a chat template.
        cache_dir: Where the tokens are kept.
        processes: How many processes tokenise; by default one, whose tokenizer has threads.

    Returns:
        All conversations of the successful trajectories.

    Raises:
        UserError: The file is missing or malformed, or the chat template cannot be used.
    """
    content, parts = _scan(path)
    key = hashlib.sha256(f"{content} {_tokenizer_fingerprint(tokenizer)}".encode()).hexdigest()
    try:
        builder = _Tokens(cache_dir=str(cache_dir), config_id=key[:32], path=path, tokenizer=tokenizer, parts=parts)
        builder.download_and_prepare(num_proc=processes)
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
    return Corpus(builder.as_dataset(split=datasets.Split.TRAIN))


@dataclass
class _TokensConfig(datasets.BuilderConfig):  # type: ignore[misc]
    path: Path | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    parts: list[FilePart] | None = None


class _Tokens(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Writes tables of many rows at once; a generator of single rows would take several times as long."""

    BUILDER_CONFIG_CLASS = _TokensConfig

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=_FEATURES)

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        config = self.config
        work = {"path": config.path, "tokenizer": config.tokenizer, "parts": config.parts}
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs=work)]

    def _generate_tables(
        self, path: Path, tokenizer: PreTrainedTokenizerBase, parts: list[FilePart]
    ) -> Iterator[tuple[int, pa.Table]]:
        return enumerate(_tables(path, tokenizer, parts))


def _scan(path: Path) -> tuple[str, list[FilePart]]:
    """Reads a file once: the hash of its content, and where its parts begin."""
    if not path.is_file():
        raise UserError(f"{path}: no such trajectory file; make one with `python -m prost_lightning collect`.")
    digest = hashlib.sha256()
    parts: list[FilePart] = []
    offset = trajectory = 0
    with path.open("rb") as file:
        while lines := list(islice(file, _LINES_IN_PART)):
            parts.append(FilePart(offset, len(parts) * _LINES_IN_PART + 1, trajectory, len(lines)))
            for line in lines:
                digest.update(line)
                offset += len(line)
                trajectory += bool(line.strip())
    if trajectory == 0:
        raise UserError(f"{path}: there is no trajectory in it; collect some with `python -m prost_lightning collect`.")
    return digest.hexdigest(), parts


def _tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Everything besides the trajectories that tokens may depend on; if in doubt, they are made anew."""
    digest = hashlib.sha256()
    for source in (Path(__file__), Path(tokenize_module.__file__)):
        digest.update(source.read_bytes())
    for package in ("transformers", "tokenizers"):
        digest.update(importlib.metadata.version(package).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    digest.update(repr((tokenizer.chat_template, tokenizer.special_tokens_map)).encode())
    return digest.hexdigest()


def _tables(path: Path, tokenizer: PreTrainedTokenizerBase, parts: list[FilePart]) -> Iterator[pa.Table]:
    """Reads and tokenises parts of a file."""
    schema = _FEATURES.arrow_schema
    for part in parts:
        trajectories = _read(path, part)
        while some := list(islice(trajectories, _LINES_AT_ONCE)):
            rows = list(_tokenised(some, tokenizer))
            columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
            yield pa.Table.from_arrays(columns, schema=schema)


def _read(path: Path, part: FilePart) -> Iterator[tuple[int, Trajectory]]:
    index = part.trajectory
    with path.open("rb") as file:
        file.seek(part.offset)
        for number, line in enumerate(islice(file, part.lines), start=part.line):
            if line.strip():
                yield index, decode(line, f"{path}:{number}")
                index += 1


def _tokenised(
    trajectories: list[tuple[int, Trajectory]], tokenizer: PreTrainedTokenizerBase
) -> Iterator[dict[str, Any]]:
    """One row for each conversation; and one for each trajectory that failed, of which nothing good is to be learnt."""
    successful = [pair for pair in trajectories if pair[1].outcome.success]
    conversations = [conversation for _, trajectory in successful for conversation in trajectory.conversations]
    sequences = tokenize(conversations, tokenizer)
    for index, trajectory in trajectories:
        # An episode of a single agent that does not tell its sub-tasks apart is one.
        n_sub_tasks = max(1, len(trajectory.sub_tasks))
        about = {
            "trajectory": index,
            "task_id": trajectory.task_id,
            "difficulty": trajectory.difficulty,
            "n_sub_tasks": n_sub_tasks,
        }
        if not trajectory.outcome.success:
            yield {**about, "role": FAILED, "digest": 0, **{name: [] for name in _LISTS}}
            continue
        kinds = [sub_task.kind for sub_task in trajectory.sub_tasks] or ["other"]
        apps = ["+".join(sorted(sub_task.apps)) for sub_task in trajectory.sub_tasks] or [""]
        for conversation in trajectory.conversations:
            sequence = next(sequences)
            # A turn whose sub-task is not known counts to the last one.
            positions = [span.position or n_sub_tasks for span in sequence.spans]
            input_ids = sequence.input_ids.numpy().astype(np.int32)
            digest = hashlib.blake2b(input_ids.tobytes(), digest_size=8).digest()
            yield {
                **about,
                "role": ROLES.index(conversation.role),
                "digest": int.from_bytes(digest, "little", signed=True),
                "input_ids": input_ids,
                "turn_start": [span.start for span in sequence.spans],
                "turn_end": [span.end for span in sequence.spans],
                "turn_position": positions,
                "turn_kind": [kinds[position - 1] for position in positions],
                "turn_app": [apps[position - 1] for position in positions],
            }
