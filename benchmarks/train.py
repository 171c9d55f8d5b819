"""Training speed and memory, side by side in one run: this package, TRL's SFTTrainer, plain transformers with PEFT.

All train LoRA adapters of one rank on all linear layers of the same base (NF4), on the same conversations of ours with
the same labels, within the same token budget a step. They take turns, several rounds of them, each in a process of its
own; the table shows medians over all timed steps. Needs ``pip install -e ".[benchmark]"``.

    # a card: a Qwen2.5-7B-shaped model with random weights, packed 8k
    python benchmarks/train.py --model qwen2.5-7b --tokens 8192 --steps 10 --json docs/figures/train-7b.json
    # a laptop: the real SmolLM2-135M at 1k; only the ratios mean something
    python benchmarks/train.py --model smollm2-135m-instruct --tokens 1024 --steps 4
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import reporting
import torch
from tqdm import tqdm
from train_contenders import CONTENDERS, Settings

from prost_lightning.cache import cache_root
from prost_lightning.datamodules.tokenize import tokenize
from prost_lightning.errors import UserError
from prost_lightning.modules.builtin_models import BUILTIN_MODELS
from prost_lightning.modules.qlora import load_tokenizer, resolve_model
from prost_lightning.trajectory import TEAM_ROLES, iter_trajectories

IGNORED = -100

#: Qwen2.5's published dimensions: layers, hidden size, feed-forward size, query and key/value heads, tied embeddings.
SHAPES: dict[str, tuple[int, int, int, int, int, bool]] = {
    "qwen2.5-0.5b": (24, 896, 4864, 14, 2, True),
    "qwen2.5-1.5b": (28, 1536, 8960, 12, 2, True),
    "qwen2.5-7b": (28, 3584, 18944, 28, 4, False),
}
_VOCABULARY = 152_064


def model_directory(name: str) -> Path:
    """The base all contenders load: a built-in model, a local directory, or a shape filled with random weights.

    Args:
        name: A key of :data:`SHAPES`, or what :func:`prost_lightning.modules.qlora.resolve_model` takes.
    """
    if name not in SHAPES:
        return Path(resolve_model(name))
    from transformers import Qwen2Config, Qwen2ForCausalLM

    directory = cache_root() / "benchmarks" / name
    if (directory / "config.json").is_file():
        return directory
    layers, hidden, intermediate, heads, kv_heads, tied = SHAPES[name]
    config = Qwen2Config(
        vocab_size=_VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=tied,
        max_position_embeddings=32_768,
        dtype=torch.bfloat16,
    )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.device(device):
            torch.set_default_dtype(torch.bfloat16)
            model = Qwen2ForCausalLM(config)
            torch.set_default_dtype(torch.float32)
        model.save_pretrained(scratch)
        # Its vocabulary is a part of the model's, so any tokens of ours are tokens of the model.
        load_tokenizer(next(iter(BUILTIN_MODELS))).save_pretrained(scratch)
        Path(scratch).rename(directory)
        Path(scratch).mkdir()  # for the context manager to remove
    return directory


def write_sequences(trajectories: Path, model: Path, roles: list[str], tokens: int, file: Path) -> int:
    """Writes the conversations as token sequences with labels, for contenders that know nothing of trajectories.

    Args:
        trajectories: The trajectory file.
        model: Directory with the tokenizer.
        roles: Roles whose conversations are taken.
        tokens: Longer conversations are left out, as the data module leaves out their late turns.
        file: Where they go, one JSON object a line.

    Returns:
        Number of sequences.
    """
    conversations = [
        conversation
        for trajectory in iter_trajectories(trajectories)
        if trajectory.outcome.success
        for conversation in trajectory.conversations
        if conversation.role in roles
    ]
    count = 0
    with file.open("w") as lines:
        for sequence in tokenize(conversations, load_tokenizer(model)):
            if not sequence.spans or sequence.spans[-1].end > tokens:
                continue
            labels = torch.full_like(sequence.input_ids, IGNORED)
            for span in sequence.spans:
                labels[span.start : span.end] = sequence.input_ids[span.start : span.end]
            end = sequence.spans[-1].end
            row = {"input_ids": sequence.input_ids[:end].tolist(), "labels": labels[:end].tolist()}
            lines.write(json.dumps(row) + "\n")
            count += 1
    return count


def run_contender(name: str, settings: Settings) -> dict[str, Any]:
    """Runs one contender in a fresh process.

    Returns:
        Its figures, or ``{"failed": last line of its errors}``.
    """
    command = [sys.executable, str(Path(__file__).with_name("train_contenders.py")), name, json.dumps(asdict(settings))]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]),
        "WANDB_MODE": "disabled",
    }
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        return {"failed": (finished.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    figures: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return figures


def matmul_tflops() -> float | None:
    """What the card reaches in a large bf16 matrix product, in TFLOP/s; None without a card."""
    if not torch.cuda.is_available():
        return None
    size = 8192
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(20):
        start.record()
        left @ right
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return 2 * size**3 / statistics.median(times[5:]) / 1e12


def row(name: str, rounds: list[dict[str, Any]], peak_tflops: float | None) -> dict[str, Any]:
    """One line of the table.

    Args:
        name: The contender.
        rounds: Its figures of each round.
        peak_tflops: What model-FLOP utilisation is a share of; None where it is not known.
    """
    steps = [step for figures in rounds for step in figures["steps"]]

    def rate(key: str) -> float:
        return statistics.median(step[key] / step["seconds"] for step in steps)

    utilisation = f"{rate('model_flops') / 1e12 / peak_tflops:.1%}" if peak_tflops else "-"
    return {
        "trainer": name,
        "tokens/s": rate("tokens"),
        "supervised tokens/s": rate("supervised_tokens"),
        "x TRL": 1.0,
        "model TFLOP/s": rate("model_flops") / 1e12,
        "MFU": utilisation,
        "full": f"{sum(s['tokens'] for s in steps) / sum(s['computed_tokens'] for s in steps):.1%}",
        "peak memory GiB": max(figures["peak_memory_gib"] for figures in rounds),
        "steps": len(steps),
    }


def main() -> None:
    """Runs the contenders in turns and prints the table."""
    parser = reporting.argument_parser(__doc__ or "")
    parser.add_argument("--model", default="smollm2-135m-instruct", help=f"{', '.join(SHAPES)}, or any model")
    parser.add_argument("--trajectories", type=Path, default=Path("worlds/quickstart/trajectories.jsonl"))
    parser.add_argument("--roles", nargs="+", default=list(TEAM_ROLES))
    parser.add_argument("--contenders", nargs="+", default=["prost_lightning", "trl", "transformers"])
    parser.add_argument("--quantization", choices=("nf4", "none"), default="nf4")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=1024, help="token budget of a step")
    parser.add_argument("--steps", type=int, default=4, help="timed steps a round")
    parser.add_argument("--warmup", type=int, default=2, help="steps before those")
    parser.add_argument("--rounds", type=int, default=2, help="how often the contenders take turns")
    parser.add_argument("--checkpointing", choices=("none", "full"), default="none")
    parser.add_argument("--compile", choices=("none", "default"), default="none", help="torch.compile, for all alike")
    parser.add_argument("--peak_tflops", type=float, help="for MFU; by default what a large bf16 product reaches here")
    given = parser.parse_args()
    unknown = set(given.contenders) - set(CONTENDERS)
    if unknown:
        raise UserError(f"--contenders: {', '.join(sorted(unknown))} unknown; choose from {', '.join(CONTENDERS)}.")
    if not given.trajectories.is_file():
        raise UserError(
            f"{given.trajectories}: no such file; run the quickstart, or "
            "`python -m prost_lightning collect --world DIR`, and name its file with --trajectories."
        )
    model = model_directory(given.model)
    with tempfile.TemporaryDirectory() as scratch:
        sequences = Path(scratch) / "sequences.jsonl"
        count = write_sequences(given.trajectories, model, given.roles, given.tokens, sequences)
        settings = Settings(
            model=str(model),
            trajectories=str(given.trajectories.resolve()),
            sequences=str(sequences),
            roles=given.roles,
            quantization=given.quantization,
            rank=given.rank,
            tokens=given.tokens,
            steps=given.steps,
            warmup=given.warmup,
            checkpointing=given.checkpointing,
            compile=given.compile,
        )
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in given.contenders}
        turns = [name for _ in range(given.rounds) for name in given.contenders]
        source = f"{', '.join(given.roles)} in {given.trajectories}"
        notes = [f"{count:,} sequences of {source}; medians over timed steps."]
        for name in tqdm(turns, desc="rounds", unit="run"):
            figures = run_contender(name, settings)
            if "failed" in figures:
                notes.append(f"{name} failed: {figures['failed']}")
            else:
                results[name].append(figures)
    peak = given.peak_tflops or matmul_tflops()
    rows = [row(name, rounds, peak) for name, rounds in results.items() if rounds]
    if not rows:
        raise UserError(" ".join(notes))
    # TRL is what one would use otherwise, so it is what others are compared with.
    reference = next((entry for entry in rows if entry["trainer"] == "trl"), rows[0])["tokens/s"]
    for entry in rows:
        entry["x TRL"] = entry["tokens/s"] / reference
    if peak:
        notes.append(f"MFU is a share of {peak:,.0f} TFLOP/s. No logits without a label and no recomputation count.")
    else:
        notes.append("Not run on a GPU: only the ratios mean something.")
    reporting.report(f"Training {given.model}, {given.tokens} tokens a step", rows, json_path=given.json, notes=notes)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
