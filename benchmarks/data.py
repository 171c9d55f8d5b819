"""What the data path saves and costs: tokens an epoch processes, fill of packed batches, and memory and time at scale.

    python benchmarks/data.py tokens --trajectories FILE [--json FILE]
    python benchmarks/data.py scale --trajectories FILE --n 100000 [--replay] [--json FILE]

``tokens`` compares, stage by stage, what this data path puts through the model with one sequence for each turn, and
with whole trajectories at every stage; and it reports how full batches are for several token budgets. ``scale`` makes a
file of many trajectories out of a few (every copy with other numbers in its texts), tokenises it into an empty cache
and plans an epoch, in a process of its own whose memory is watched: its own pages (``RssAnon`` of the Linux kernel),
and all resident ones, among them those of memory-mapped files, which the kernel takes back when it needs them. With
``--replay`` every copy gets the tokens of its original, so that all but the tokenizer's own work (whose memory does not
grow with the file) can be measured quickly.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from reporting import argument_parser, report
from transformers import PreTrainedTokenizerBase

from prost_lightning.curriculum import item_levels
from prost_lightning.datamodules import corpus as corpus_module
from prost_lightning.datamodules.corpus import Corpus, load_corpus
from prost_lightning.datamodules.dataset import select
from prost_lightning.datamodules.packing import pack
from prost_lightning.datamodules.sampler import SubtaskCurriculumSampler
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.datamodules.tokenize import TokenSequence, tokenize
from prost_lightning.modules.qlora import load_tokenizer
from prost_lightning.trajectory import ROLES, Conversation, iter_trajectories

UNLIMITED = 2**30


def all_roles(corpus: Corpus) -> SequenceTable:
    """The table of every successful conversation of any role, nothing dropped for its length."""
    return select(corpus, np.ones(len(corpus), np.bool_), roles=ROLES, max_tokens=UNLIMITED).table


def token_rows(table: SequenceTable) -> list[dict[str, Any]]:
    """Tokens of an epoch at each stage of the progressive curriculum: ours, one sequence a turn, whole trajectories."""
    levels, n_stages = item_levels(table.items, "progressive")
    whole, _ = table.per_sequence(np.ones(len(table.items), np.bool_))
    counts = []
    for stage in range(1, n_stages + 1):
        visible = levels <= stage
        lengths, labelled = table.per_sequence(visible)
        # A sequence for each turn holds all the context that the turn has.
        per_turn = table.turn_end[visible[table.turn_item]]
        counts.append([int(column.sum(dtype=np.int64)) for column in (visible, labelled, lengths, per_turn, whole)])
    counts.append(np.sum(counts, axis=0).tolist())
    return [
        {
            "stage": str(stage) if stage <= n_stages else "all",
            "items": items,
            "labels": labels,
            "tokens": tokens,
            "one sequence a turn": per_turn,
            "times as many": per_turn / tokens,
            "whole trajectories": whole_trajectories,
            "times": whole_trajectories / tokens,
        }
        for stage, (items, labels, tokens, per_turn, whole_trajectories) in enumerate(counts, start=1)
    ]


def fill_rows(table: SequenceTable, copies: int) -> list[dict[str, Any]]:
    """How full the batches of the last stage are, for several budgets, with so many sequences of each length."""
    lengths, _ = table.per_sequence(np.ones(len(table.items), np.bool_))
    rows = []
    for budget in (1024, 2048, 4096, 8192):
        packed = [pack(np.tile(lengths[table.role == code], copies), budget) for code in np.unique(table.role)]
        batches = sum(len(packing.tokens) for packing in packed)
        tokens = int(lengths.sum(dtype=np.int64)) * copies
        rows.append(
            {
                "tokens a batch": budget,
                "batches": batches,
                "sequences a batch": len(table) * copies / batches,
                "fill (%)": 100 * tokens / (batches * budget),
                "longest sequence": int(lengths.max()),
            }
        )
    return rows


def replicate(source: Path, target: Path, n: int) -> None:
    """Writes n trajectories: copies of the given ones in which every number is another one."""
    lines = [line for line in source.read_text().splitlines() if line.strip()]
    generator = np.random.default_rng(0)
    # Numbers of at least three digits occur in texts only: ids, amounts, tokens.
    number = re.compile(r"(?<=[ '\"=(\\n])\d{3,9}(?=[ '\",.)\\\\])")
    with target.open("w") as file:
        for index in range(n):
            shift = int(generator.integers(100))
            file.write(number.sub(partial(_shifted, shift), lines[index % len(lines)]) + "\n")


def _shifted(shift: int, match: re.Match[str]) -> str:
    return str(int(match[0]) + shift)


def replayed(conversations: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase) -> Iterator[TokenSequence]:
    """Stands in for the tokenizer: conversations that differ in their numbers only get the same tokens."""
    for conversation in conversations:
        key = re.sub(r"\d+", "", "".join(message.content for message in conversation.messages)) + conversation.role
        if key not in _TOKENS:
            _TOKENS[key] = next(tokenize([conversation], tokenizer))
        yield _TOKENS[key]


_TOKENS: dict[str, TokenSequence] = {}


class OwnMemory:
    """Watches, from a thread, how much memory a process has beside the pages of mapped files."""

    def __init__(self, every: float = 0.02) -> None:
        self.peak_mib = self._now()
        self._every = every
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, self._now())
            time.sleep(self._every)

    @staticmethod
    def _now() -> float:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) / 1024


def measure_scale(
    path: Path, base_model: str, cache_dir: Path, processes: int | None, replay: bool, queue: Any
) -> None:
    """Tokenises and plans; puts seconds and sizes into the queue. Runs in a process of its own."""
    if replay:
        corpus_module.tokenize = replayed
    start = time.perf_counter()
    tokenizer = load_tokenizer(base_model)
    own = OwnMemory()
    loaded = own.peak_mib
    corpus = load_corpus(path, tokenizer, cache_dir=cache_dir, processes=processes)
    tokenised = time.perf_counter()
    table = all_roles(corpus)
    levels, _ = item_levels(table.items, "progressive")
    sampler = SubtaskCurriculumSampler(table, levels, tokens_per_batch=8192)
    sampler.set_stage(sampler.n_stages)
    tabled = time.perf_counter()
    batches = len(sampler)
    planned = time.perf_counter()
    queue.put(
        {
            "trajectories": len(corpus.task_ids),
            "sequences": len(table),
            "items": len(table.items),
            "tokens": int(table.per_sequence(np.ones(len(table.items), np.bool_))[0].sum(dtype=np.int64)),
            "batches": batches,
            "tokenise (s)": tokenised - start,
            "tables (s)": tabled - tokenised,
            "plan an epoch (s)": planned - tabled,
            "peak own memory (MiB)": own.peak_mib,
            "of it imports (MiB)": loaded,
            "peak RSS (MiB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


def scale_rows(source: Path, n: int, base_model: str, processes: int | None, replay: bool) -> list[dict[str, Any]]:
    """Measures the first call, which tokenises, and a second one, which finds the tokens."""
    rows = []
    context = multiprocessing.get_context("fork")  # its imports are not measured again
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "trajectories.jsonl"
        replicate(source, path, n)
        size = path.stat().st_size
        for call in ("first", "second"):
            queue = context.Queue()
            process = context.Process(
                target=measure_scale, args=(path, base_model, Path(directory) / "cache", processes, replay, queue)
            )
            process.start()
            rows.append({"call": call, "file (MB)": size / 1e6} | queue.get())
            process.join()
    return rows


def main() -> None:
    """Runs the part that is asked for."""
    parser = argument_parser(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("part", choices=["tokens", "scale"])
    parser.add_argument("--trajectories", type=Path, required=True)
    parser.add_argument("--base-model", default="smollm2-135m-instruct")
    parser.add_argument("--n", type=int, default=100_000, help="trajectories of `scale`")
    parser.add_argument("--processes", type=int, default=None, help="processes that tokenise")
    parser.add_argument("--replay", action="store_true", help="give copies the tokens of their original")
    arguments = parser.parse_args()
    if arguments.part == "scale":
        rows = scale_rows(
            arguments.trajectories, arguments.n, arguments.base_model, arguments.processes, arguments.replay
        )
        own, all_pages = (max(row[column] for row in rows) for column in ("peak own memory (MiB)", "peak RSS (MiB)"))
        note = (
            f"Bar: 100,000 trajectories in at most 2 GB; here {rows[0]['trajectories']:,} in {own:,.0f} MiB, or "
            f"{all_pages:,.0f} MiB with what is resident of mapped files and programs."
        )
        report("Tokenising and planning at scale", rows, json_path=arguments.json, notes=[note])
        return
    with tempfile.TemporaryDirectory() as cache:
        corpus = load_corpus(
            arguments.trajectories, load_tokenizer(arguments.base_model), cache_dir=Path(cache), processes=None
        )
        table = all_roles(corpus)
        count = sum(trajectory.outcome.success for trajectory in iter_trajectories(arguments.trajectories))
        report(
            f"Tokens that an epoch processes, {count} trajectories, progressive curriculum",
            token_rows(table),
            json_path=arguments.json,
        )
        for copies in (1, 7, 28):
            path = arguments.json and arguments.json.with_name(f"{arguments.json.stem}-fill-{copies * count}.json")
            report(
                f"Fill of packed batches at the last stage, {copies * count} trajectories"
                + (f" (each length {copies} times)" if copies > 1 else ""),
                fill_rows(table, copies),
                json_path=path,
                notes=["Bar: 97%. Roles are packed apart, and each role's last batch is what is left."],
            )


if __name__ == "__main__":
    main()
