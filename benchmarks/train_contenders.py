"""The contenders of ``benchmarks/train.py``: each trains adapters on the same sequences and times its steps.

A contender runs in a process of its own (``python benchmarks/train_contenders.py NAME SETTINGS``), so that none
inherits another's memory, compiled kernels or patched classes. It prints one JSON line with its timed steps.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch

from prost_lightning.flops import ModelShape, training_flops
from prost_lightning.modules.packed_attention import sequence_lengths
from prost_lightning.modules.qlora import LoraSettings, compute_dtype, keep_trainable_on_cpu

IGNORED = -100


@dataclass
class Settings:
    """What all contenders have in common.

    Attributes:
        model: Directory of the base model with its tokenizer.
        trajectories: The trajectory file.
        sequences: The same conversations tokenised, one JSON object a line with ``input_ids`` and ``labels``.
        roles: Roles that are trained. Ours trains an adapter for each; the others have one adapter for all.
        quantization: ``nf4`` or ``none``.
        rank: LoRA rank, on all linear layers; alpha is twice that.
        tokens: Most tokens in a step.
        steps: Steps that are timed.
        warmup: Steps before those, not timed.
        checkpointing: ``none`` or ``full`` recomputation of activations.
        compile: ``none``, or ``default`` for ``torch.compile``; ours compiles layers, the others the model.
    """

    model: str
    trajectories: str
    sequences: str
    roles: list[str]
    quantization: str
    rank: int
    tokens: int
    steps: int
    warmup: int
    checkpointing: str
    compile: str

    @property
    def device(self) -> torch.device:
        """Where training takes place."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Stopwatch:
    """Times steps, and counts what they process.

    Attributes:
        device: Work on it is waited for before the clock is read.
        shape: The base's shape.
        adapter_parameters: Weights of the adapter that a step trains.
        steps: Finished steps.
    """

    device: torch.device
    shape: ModelShape
    adapter_parameters: int
    steps: list[dict[str, float]] = field(default_factory=list)
    _current: dict[str, float] = field(default_factory=dict)
    _started: float = 0.0

    def start(self) -> None:
        """A step begins."""
        self._current = {"tokens": 0, "computed_tokens": 0, "supervised_tokens": 0, "model_flops": 0.0}
        self._synchronize()
        self._started = time.perf_counter()

    def count(self, input_ids: torch.Tensor, labels: torch.Tensor, lengths: list[int]) -> None:
        """Counts a micro-batch.

        Args:
            input_ids: (B, T) what goes through the model, padding included.
            labels: (B, T) with -100 where there is no loss.
            lengths: Tokens of each document in it, without padding.
        """
        supervised = int((labels != IGNORED).sum())
        self._current["tokens"] += sum(lengths)
        self._current["computed_tokens"] += input_ids.numel()
        self._current["supervised_tokens"] += supervised
        # What the mathematics asks for: no padding, no logits without a label, nothing computed twice.
        self._current["model_flops"] += training_flops(self.shape, lengths, supervised, self.adapter_parameters)

    def stop(self) -> None:
        """The step, its optimiser's part included, is over."""
        self._synchronize()
        self.steps.append({"seconds": time.perf_counter() - self._started, **self._current})

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def train_ours(settings: Settings) -> Stopwatch:
    """This package: packed batches of one role each, an adapter a role, through Lightning's Trainer."""
    from prost_lightning.datamodules import SubtaskDataModule
    from prost_lightning.modules.compute import ComputeSettings
    from prost_lightning.modules.role_module import RoleModule

    roles: Any = settings.roles
    module = RoleModule(
        settings.model,
        roles=roles,
        quantization=settings.quantization,  # type: ignore[arg-type]
        lora=LoraSettings(r=settings.rank, alpha=2 * settings.rank),
        compute=ComputeSettings(
            activation_checkpointing=settings.checkpointing,  # type: ignore[arg-type]
            compile=settings.compile,  # type: ignore[arg-type]
        ),
        lr=1e-4,
    )
    data = SubtaskDataModule(
        settings.trajectories,
        settings.model,
        roles=roles,
        curriculum="standard",
        tokens_per_batch=settings.tokens,
        max_tokens=settings.tokens,
        val_share=0.0,
    )
    watch: Stopwatch | None = None

    class Timer(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            nonlocal watch
            trained = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
            watch = Stopwatch(settings.device, module.shape, trained)

        def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, _: int) -> None:
            assert watch is not None
            watch.start()
            watch.count(batch["input_ids"], batch["labels"], sequence_lengths(batch["position_ids"]))

        def on_train_batch_end(self, *_: Any) -> None:
            assert watch is not None
            watch.stop()

    trainer = L.Trainer(
        accelerator=settings.device.type,
        devices=1,
        max_epochs=-1,
        max_steps=settings.warmup + settings.steps,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        callbacks=[Timer()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(module, data)
    assert watch is not None
    return watch


def _hugging_face(settings: Settings, make_trainer: Callable[..., Any]) -> Stopwatch:
    """What TRL and plain transformers share: the model, the adapter, the sequences, and the clock."""
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback

    dtype = compute_dtype(settings.device)
    quantized = None
    if settings.quantization == "nf4":
        quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    model = AutoModelForCausalLM.from_pretrained(
        settings.model,
        dtype=dtype,
        quantization_config=quantized,
        device_map={"": settings.device},
        attn_implementation=_best_attention(settings.device),
    )
    keep_trainable_on_cpu(model)
    lora = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear", task_type="CAUSAL_LM")
    dataset = load_dataset("json", data_files=settings.sequences, split="train")
    arguments = {
        "output_dir": str(Path(settings.sequences).parent / "out"),
        "max_steps": settings.warmup + settings.steps,
        "learning_rate": 1e-4,
        "bf16": dtype == torch.bfloat16,
        "use_cpu": settings.device.type == "cpu",
        "gradient_checkpointing": settings.checkpointing == "full",
        "torch_compile": settings.compile != "none",
        "optim": "adamw_torch_fused" if settings.device.type == "cuda" else "adamw_torch",
        "max_grad_norm": 1.0,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": settings.device.type == "cuda",
    }
    shape = ModelShape.from_config(model.config)
    trainer = make_trainer(model, AutoTokenizer.from_pretrained(settings.model), lora, dataset, arguments)
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    watch = Stopwatch(settings.device, shape, trained)

    class Timer(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            watch.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            watch.stop()

    trainer.add_callback(Timer())
    training_step = trainer.training_step

    def counted(model: Any, inputs: dict[str, torch.Tensor], *rest: Any, **options: Any) -> Any:
        if "attention_mask" in inputs:
            lengths = inputs["attention_mask"].sum(dim=1).tolist()
        else:
            lengths = sequence_lengths(inputs["position_ids"])
        watch.count(inputs["input_ids"], inputs["labels"], lengths)
        return training_step(model, inputs, *rest, **options)

    trainer.training_step = counted
    trainer.train()
    return watch


def train_trl(settings: Settings) -> Stopwatch:
    """TRL's SFTTrainer at its best: best-fit packing without padding, Liger's kernels where they are installed."""
    from trl import SFTConfig, SFTTrainer

    def make(model: Any, tokenizer: Any, lora: Any, dataset: Any, arguments: dict[str, Any]) -> Any:
        config = SFTConfig(
            **arguments,
            per_device_train_batch_size=1,
            max_length=settings.tokens,
            packing=True,
            packing_strategy="bfd",
            use_liger_kernel=settings.device.type == "cuda" and _installed("liger_kernel"),
        )
        return SFTTrainer(model, config, train_dataset=dataset, processing_class=tokenizer, peft_config=lora)

    return _hugging_face(settings, make)


def train_transformers(settings: Settings) -> Stopwatch:
    """Plain transformers Trainer with PEFT: padded batches of similar lengths within the same token budget."""
    from peft import get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    def make(model: Any, tokenizer: Any, lora: Any, dataset: Any, arguments: dict[str, Any]) -> Any:
        longest = max(len(row) for row in dataset["input_ids"])
        config = TrainingArguments(
            **arguments,
            per_device_train_batch_size=max(1, settings.tokens // longest),
            train_sampling_strategy="group_by_length",
        )
        if settings.checkpointing == "full":
            model.enable_input_require_grads()
        collator = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)
        return Trainer(get_peft_model(model, lora), config, train_dataset=dataset, data_collator=collator)

    return _hugging_face(settings, make)


def train_unsloth(settings: Settings) -> Stopwatch:
    """Unsloth's patched model under TRL's SFTTrainer. Only where it is installed; it needs a GPU."""
    from trl import SFTConfig, SFTTrainer
    from unsloth import FastLanguageModel  # must be imported before trl, which it patches

    def make(_: Any, tokenizer: Any, lora: Any, dataset: Any, arguments: dict[str, Any]) -> Any:
        model, _ = FastLanguageModel.from_pretrained(
            settings.model, max_seq_length=settings.tokens, load_in_4bit=settings.quantization == "nf4"
        )
        model = FastLanguageModel.get_peft_model(
            model,
            r=lora.r,
            lora_alpha=lora.lora_alpha,
            use_gradient_checkpointing="unsloth" if settings.checkpointing == "full" else False,
        )
        config = SFTConfig(
            **arguments, per_device_train_batch_size=1, max_length=settings.tokens, packing=True, packing_strategy="bfd"
        )
        return SFTTrainer(model, config, train_dataset=dataset, processing_class=tokenizer)

    return _hugging_face(settings, make)


CONTENDERS: dict[str, Callable[[Settings], Stopwatch]] = {
    "prost_lightning": train_ours,
    "trl": train_trl,
    "transformers": train_transformers,
    "unsloth": train_unsloth,
}


def _best_attention(device: torch.device) -> str:
    return "flash_attention_2" if device.type == "cuda" and _installed("flash_attn") else "sdpa"


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


@contextmanager
def _quiet_output() -> Iterator[Any]:
    """Yields the real standard output while everything else that is printed goes to standard error."""
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        yield output


def main(name: str, settings: str) -> None:
    """Runs one contender and prints its figures as JSON."""
    with _quiet_output() as output:
        given = Settings(**json.loads(settings))
        torch.manual_seed(0)
        watch = CONTENDERS[name](given)
        if given.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated() / 2**30
        else:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        figures = {"peak_memory_gib": memory, "steps": watch.steps[given.warmup :], "shape": asdict(watch.shape)}
        print(json.dumps(figures), file=output, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
