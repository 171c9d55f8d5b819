"""What is trained on, for people to see: samples with their labels, and tokens by role, position and stage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from prost_lightning.datamodules.corpus import Corpus
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler
from prost_lightning.trajectory import ROLES, Role

TRAINED = "bold green"
LATER = "yellow"
CONTEXT = "dim"
MARK = "bold reverse"


def legend() -> Text:
    """Explains the colours of :func:`sample`."""
    return Text.assemble(
        ("trained tokens", TRAINED), "   ", ("a turn that opens at a later stage", LATER), "   ", ("context", CONTEXT)
    )


def sample(
    corpus: Corpus, sampler: SubtaskCurriculumSampler, sequence: int, tokenizer: PreTrainedTokenizerBase, *, stage: int
) -> Text:
    """Shows a conversation as it is trained on at a stage, in epoch 0.

    Args:
        corpus: The token store of the sampler's table.
        sampler: The sampler.
        sequence: Row of its table.
        tokenizer: Turns tokens into text.
        stage: Stage, from 1.
    """
    table, levels = sampler.table, sampler.levels
    visible = sampler.visible_items(stage=stage, epoch=0)
    row = int(table.row[sequence])
    tokens = corpus[row]
    turns = range(table.turn_offset[sequence], table.turn_offset[sequence + 1])
    active = [turn for turn in turns if visible[table.turn_item[turn]]]
    length = int(table.turn_end[active[-1]]) if active else 0
    labelled = sum(int(table.turn_end[turn] - table.turn_start[turn]) for turn in active)
    role = ROLES[table.role[sequence]]
    title = (
        f"{corpus.task_ids[int(table.trajectory[sequence])]}  {role}  stage {stage} of {sampler.n_stages}: "
        f"{length:,} of {len(tokens):,} tokens go through the model, {labelled:,} have a label"
    )
    text = Text(title + "\n", style="bold")
    done = 0
    for turn in turns:
        start, end = int(table.turn_start[turn]), int(table.turn_end[turn])
        if start >= length:
            break
        item = int(table.turn_item[turn])
        text.append(str(tokenizer.decode(tokens[done:start])), CONTEXT)
        text.append(f"[{role}, sub-task {table.items.position[item]}, level {levels[item]}]", MARK)
        text.append(str(tokenizer.decode(tokens[start:end])), TRAINED if visible[item] else LATER)
        done = end
    text.append(f"\n... cut here, {len(tokens) - length:,} tokens left out" if length < len(tokens) else "", "italic")
    return text


def stage_table(sampler: SubtaskCurriculumSampler, tokens_per_batch: int) -> Table:
    """What one epoch at each stage puts through the model: sequences, tokens, labels, batches, their fill."""
    table = Table(title="An epoch at each stage", title_justify="left")
    for name in ("stage", "role", "items", "sequences", "tokens", "with label", "share", "steps", "fill"):
        table.add_column(name, justify="left" if name == "role" else "right")
    for stage in range(1, sampler.n_stages + 1):
        plan = sampler.plan(stage=stage, epoch=0)
        for role in sampler.table.roles:
            code = ROLES.index(role)
            steps = plan.role == code
            tokens = int(plan.tokens[steps].sum(dtype=np.int64))
            labelled = int(plan.supervised[sampler.table.role == code].sum(dtype=np.int64))
            if tokens == 0:
                continue
            table.add_row(
                str(stage),
                role,
                f"{np.count_nonzero(plan.visible & (sampler.table.items.role == code)):,}",
                f"{int((plan.end - plan.start)[steps].sum()):,}",
                f"{tokens:,}",
                f"{labelled:,}",
                f"{labelled / tokens:.0%}",
                f"{np.count_nonzero(steps):,}",
                f"{tokens / (plan.tokens[steps].size * tokens_per_batch):.1%}",
            )
        table.add_section()
    return table


def position_table(sampler: SubtaskCurriculumSampler, width: int = 24) -> Table:
    """Labelled tokens of each role and sub-task position, with bars."""
    table = Table(title="Tokens with a label, by role and position of the sub-task", title_justify="left")
    for name in ("role", "position", "level", "items", "tokens", ""):
        table.add_column(name, justify="left" if name in ("role", "") else "right")
    rows = list(_by_position(sampler))
    most = max((tokens for *_, tokens in rows), default=1)
    previous = None
    for role, position, levels, items, tokens in rows:
        if previous not in (None, role):
            table.add_section()
        previous = role
        bar = "█" * round(width * tokens / most)
        table.add_row(role, str(position), levels, f"{items:,}", f"{tokens:,}", bar)
    return table


def _by_position(sampler: SubtaskCurriculumSampler) -> Iterator[tuple[Role, int, str, int, int]]:
    items = sampler.table.items
    for role in sampler.table.roles:
        for position in np.unique(items.position[items.role == ROLES.index(role)]).tolist():
            rows = (items.role == ROLES.index(role)) & (items.position == position)
            lowest, highest = sampler.levels[rows].min(), sampler.levels[rows].max()
            levels = str(lowest) if lowest == highest else f"{lowest}-{highest}"
            yield role, position, levels, int(rows.sum()), int(items.tokens[rows].sum(dtype=np.int64))
