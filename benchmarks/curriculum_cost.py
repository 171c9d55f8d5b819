r"""What the curriculum does to tokens and FLOPs of each epoch, in a table and a figure.

    python benchmarks/curriculum_cost.py --trajectories worlds/quickstart/trajectories.jsonl \
        --figure docs/figures/curriculum-cost.png [--json FILE]

Nothing is trained: the epochs are planned as training plans them, and their operations counted for LoRA (rank 16, all
linear layers) on a model of the shape of Qwen2.5-7B.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from reporting import argument_parser, report

from prost_lightning.cache import cache_root
from prost_lightning.curriculum import Curriculum, EpochsPerStage, Pool, item_levels
from prost_lightning.datamodules.corpus import load_corpus
from prost_lightning.datamodules.dataset import select
from prost_lightning.datamodules.table import SequenceTable
from prost_lightning.flops import ModelShape, training_flops
from prost_lightning.modules.qlora import load_tokenizer
from prost_lightning.trajectory import TEAM_ROLES

QWEN_7B = ModelShape(
    layers=28, hidden_size=3584, intermediate_size=18944, heads=28, kv_heads=4, head_dim=128, vocab_size=152064
)
ADAPTER_PARAMETERS = 40_370_176
"""Of rank 16 on all linear layers of that shape."""

SETTINGS: dict[str, tuple[Curriculum, Pool]] = {
    "standard": ("standard", Pool()),
    "progressive": ("progressive", Pool()),
    "progressive, replay 0.3": ("progressive", Pool(replay=0.3)),
    "progressive, window 1": ("progressive", Pool(replay=0.0)),
    "reverse": ("reverse", Pool()),
}


def epoch_costs(table: SequenceTable, curriculum: Curriculum, pool: Pool, epochs: int) -> list[dict[str, float]]:
    """Counts what each epoch puts through the model.

    Args:
        table: The sequences.
        curriculum: The ordering; one more level an epoch.
        pool: What is kept of earlier levels.
        epochs: Number of epochs.

    Returns:
        Items, supervised and processed tokens (millions), and operations (1e15) of each epoch.
    """
    levels, n_stages = item_levels(table.items, curriculum)
    costs = []
    for epoch in range(epochs):
        visible = pool(levels, EpochsPerStage().stage(epoch, n_stages), epoch)
        lengths, supervised = table.per_sequence(visible)
        flops = training_flops(
            QWEN_7B, lengths.tolist(), supervised_tokens=int(supervised.sum()), adapter_parameters=ADAPTER_PARAMETERS
        )
        costs.append(
            {
                "items": int(visible.sum()),
                "supervised, M": float(supervised.sum()) / 1e6,
                "tokens, M": float(lengths.sum()) / 1e6,
                "PFLOP": flops / 1e15,
            }
        )
    return costs


def draw(costs: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draws tokens and operations of each epoch, one line a setting."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for axis, (column, label) in zip(
        axes,
        {"tokens, M": "tokens through the model, millions", "PFLOP": "operations, PFLOP (7B)"}.items(),
        strict=True,
    ):
        _draw_column(axis, costs, column, label)
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _draw_column(axis: Axes, costs: dict[str, list[dict[str, float]]], column: str, label: str) -> None:
    for (name, epochs), marker in zip(costs.items(), "osD^v", strict=True):
        axis.plot(range(1, len(epochs) + 1), [epoch[column] for epoch in epochs], marker=marker, label=name)
    axis.set_xlabel("epoch")
    axis.set_ylabel(label)
    axis.set_xticks(np.arange(1, len(next(iter(costs.values()))) + 1))
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)


def main() -> None:
    """Plans, counts, draws and reports."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--trajectories", type=Path, required=True, help="JSONL file of episodes")
    parser.add_argument("--tokenizer", default="smollm2-135m-instruct", help="model whose tokenizer counts the tokens")
    parser.add_argument(
        "--epochs", type=int, help="by default as many as the longest trajectory has sub-tasks, and one"
    )
    parser.add_argument("--figure", type=Path, help="PNG file to draw")
    arguments = parser.parse_args()
    corpus = load_corpus(arguments.trajectories, load_tokenizer(arguments.tokenizer), cache_dir=cache_root() / "tokens")
    part = select(corpus, np.ones(len(corpus.column("role")), np.bool_), roles=TEAM_ROLES, max_tokens=1_000_000)
    epochs = arguments.epochs or int(part.table.items.n_sub_tasks.max()) + 1
    costs = {name: epoch_costs(part.table, *setting, epochs) for name, setting in SETTINGS.items()}
    rows: list[dict[str, Any]] = []
    whole = sum(epoch["PFLOP"] for epoch in costs["standard"])
    for name, of_epochs in costs.items():
        row: dict[str, Any] = {"curriculum": name}
        row |= {f"epoch {number}, M tokens": cost["tokens, M"] for number, cost in enumerate(of_epochs, start=1)}
        for column in ("supervised, M", "tokens, M", "PFLOP"):
            row[f"sum of {column}"] = sum(cost[column] for cost in of_epochs)
        row["PFLOP of standard"] = f"{row['sum of PFLOP'] / whole:.0%}"
        rows.append(row)
    if arguments.figure is not None:
        draw(costs, arguments.figure)
    report(
        f"Tokens and operations of {epochs} epochs, {len(part.table.items):,} items in {len(part.table):,} sequences",
        rows,
        json_path=arguments.json,
        notes=["One more level an epoch; roles: " + ", ".join(TEAM_ROLES) + "."],
    )


if __name__ == "__main__":
    main()
