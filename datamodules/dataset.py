"""From a trajectory file to the sequences that are trained and validated on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from prost_lightning.curriculum import Curriculum, sub_task_levels
from prost_lightning.datamodules.sampler import TrainingSequence, Turn
from prost_lightning.datamodules.tokenize import tokenize
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Role, Trajectory, read_trajectories


@dataclass(frozen=True)
class DroppedTurn:
    """A turn that cannot be trained on.

    Attributes:
        where: Task, role and number of the turn, for people to read.
        reason: Why.
    """

    where: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """The tokenised conversations of one part (training or validation) of the data.

    Attributes:
        sequences: Conversations with at least one turn to train on.
        n_stages: Number of stages of the curriculum over them.
        dropped: What is left out.
    """

    sequences: list[TrainingSequence]
    n_stages: int
    dropped: list[DroppedTurn] = field(default_factory=list)

    @property
    def n_turns(self) -> int:
        """Number of turns that may be trained on."""
        return sum(len(sequence.turns) for sequence in self.sequences)


def read_successful(path: Path) -> tuple[list[tuple[int, Trajectory]], int]:
    """Reads a trajectory file and leaves out the episodes that failed, from which nothing good is to be learnt.

    Args:
        path: A JSONL file.

    Returns:
        Successful trajectories with their index in the file, and the number of failed ones.

    Raises:
        UserError: The file is missing, malformed, or holds no successful trajectory.
    """
    trajectories = list(enumerate(read_trajectories(path)))
    successful = [(index, trajectory) for index, trajectory in trajectories if trajectory.outcome.success]
    if not successful:
        raise UserError(
            f"{path}: none of its {len(trajectories)} trajectories is successful, so there is nothing to learn from; "
            "collect more with `python -m prost_lightning collect`."
        )
    return successful, len(trajectories) - len(successful)


def split_by_scenario(
    trajectories: Sequence[tuple[int, Trajectory]], share: float, seed: int
) -> tuple[list[tuple[int, Trajectory]], list[tuple[int, Trajectory]]]:
    """Holds whole scenarios out for validation, so that no task has its near-twin on the other side.

    Args:
        trajectories: Trajectories with their index.
        share: Share of scenarios to hold out. Above 0, at least one is held out, and at least one is left.
        seed: Seed of the choice.

    Returns:
        Training and validation trajectories, in file order.
    """
    scenarios = sorted({trajectory.scenario_id for _, trajectory in trajectories})
    count = min(max(1, round(share * len(scenarios))), len(scenarios) - 1) if share > 0 else 0
    held_out = set(random.Random(f"validation {seed}").sample(scenarios, count))
    training = [pair for pair in trajectories if pair[1].scenario_id not in held_out]
    validation = [pair for pair in trajectories if pair[1].scenario_id in held_out]
    return training, validation


def build_dataset(
    trajectories: Sequence[tuple[int, Trajectory]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    roles: Sequence[Role],
    curriculum: Curriculum,
    n_stages: int | None,
    max_tokens: int,
    seed: int,
) -> Dataset:
    """Tokenises the conversations of the given roles and gives every turn its level in the curriculum.

    A turn whose sub-task is not known counts to the last sub-task.

    Args:
        trajectories: Trajectories with their index in the file.
        tokenizer: Tokenizer with a chat template.
        roles: Roles to train.
        curriculum: How levels are given; see :func:`prost_lightning.curriculum.sub_task_levels`.
        n_stages: Number of stages; as many as the longest trajectory has sub-tasks by default. ``standard`` has one,
            whatever is said here.
        max_tokens: Most tokens of context and turn together. A turn that ends beyond is dropped.
        seed: Seed of the ``random`` curriculum.

    Returns:
        The data, with the dropped turns listed.

    Raises:
        UserError: More stages than sub-tasks, or a chat template that cannot be used.
    """
    longest = max((_n_sub_tasks(trajectory) for _, trajectory in trajectories), default=1)
    if curriculum == "standard":
        n_stages = 1
    elif n_stages is None:
        n_stages = longest
    elif not 1 <= n_stages <= longest:
        raise UserError(
            f"data.n_stages is {n_stages}, but the longest training trajectory has {longest} sub-tasks; choose 1 to "
            f"{longest}, or null for {longest}."
        )
    chosen = [
        (index, trajectory, conversation)
        for index, trajectory in trajectories
        for conversation in trajectory.conversations
        if conversation.role in roles
    ]
    dataset = Dataset([], n_stages)
    conversations = [conversation for _, _, conversation in chosen]
    for (index, trajectory, conversation), tokens in zip(chosen, tokenize(conversations, tokenizer), strict=True):
        last = _n_sub_tasks(trajectory)
        levels = sub_task_levels(curriculum, last, n_stages=n_stages, longest=longest, seed=seed, trajectory=index)
        turns = []
        for number, span in enumerate(tokens.spans, start=1):
            where = f"{trajectory.task_id} {conversation.role} turn {number}"
            if span.end > max_tokens:
                reason = f"ends at token {span.end}, beyond max_tokens={max_tokens}"
                dataset.dropped.append(DroppedTurn(where, reason))
            elif span.end == span.start:
                dataset.dropped.append(DroppedTurn(where, "begins with a token that reaches back into the prompt"))
            else:
                position = span.position or last
                turns.append(Turn(span.start, span.end, position, levels[position - 1]))
        if turns:
            dataset.sequences.append(TrainingSequence(index, conversation.role, tokens.input_ids, tuple(turns)))
    return dataset


def _n_sub_tasks(trajectory: Trajectory) -> int:
    """Number of sub-tasks; an episode of a single agent that does not tell its sub-tasks apart is one."""
    return max(1, len(trajectory.sub_tasks))
