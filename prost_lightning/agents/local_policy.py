"""A policy that runs on this machine: one base model, and the adapter of whoever is to speak."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from prost_lightning.agents.policy import Completion, PolicyRequest
from prost_lightning.allocation import size_label
from prost_lightning.errors import UserError
from prost_lightning.flops import ModelShape, generation_flops
from prost_lightning.modules.generation import generate
from prost_lightning.modules.merge import merged_copy
from prost_lightning.modules.qlora import (
    Quantization,
    adapters_base,
    adapters_fingerprint,
    load_adapters,
    load_base,
    load_tokenizer,
)


class LocalPolicy:
    """Answers turns with a local model, many at a time.

    Requests are grouped by role and answered in batches of similar length. A role without an adapter is answered by
    the base. Not thread-safe.

    Args:
        model: A base with adapters named after roles, or a base alone. It may be in the middle of training: a call
            leaves it as it was.
        tokenizer: Its tokenizer, with a chat template.
        name: How the policy is called in records.
        max_batch: Most turns answered at once.
        temperature: 0 says the likeliest; above, replies are drawn.
        seed: Of the drawing.
        merge: Whether to generate with a dense copy for each role, into which its adapter is merged
            (:func:`~prost_lightning.modules.merge.merged_copy`): faster, for two bytes a weight and role. By default on
            CPUs only.

    Raises:
        UserError: ``max_batch`` is below 1.
    """

    def __init__(
        self,
        model: PeftModel | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        max_batch: int = 8,
        temperature: float = 0.0,
        seed: int = 0,
        merge: bool | None = None,
    ) -> None:
        if max_batch < 1:
            raise UserError(f"max_batch is {max_batch}; set it to 1 or more.")
        self._model: Any = model
        self._tokenizer = tokenizer
        self._name = name
        self._max_batch = max_batch
        self._temperature = temperature
        self._generator = torch.Generator(model.device).manual_seed(seed)
        self._merge = model.device.type == "cpu" if merge is None else merge
        self._merged: dict[str | None, tuple[int, PreTrainedModel]] = {}
        self._shape = ModelShape.from_config(model.config)
        self._stop_ids = _stop_ids(model, tokenizer)

    @property
    def name(self) -> str:
        """How the policy is called in records."""
        return self._name

    @property
    def size(self) -> str:
        """Size of the base, which serves all roles, as ``135M``."""
        return size_label(self._model.config)

    def generate(self, requests: Sequence[PolicyRequest]) -> list[Completion]:
        """Answers turns of any mix of roles, in the order of the requests."""
        prompts = [self._encode(request) for request in requests]
        by_role: dict[str, list[int]] = defaultdict(list)
        for index in sorted(range(len(requests)), key=lambda index: len(prompts[index])):
            by_role[requests[index].role].append(index)

        completions: dict[int, Completion] = {}
        for role, indices in by_role.items():
            with self._speaking_as(role) as model:
                for start in range(0, len(indices), self._max_batch):
                    batch = indices[start : start + self._max_batch]
                    completions |= self._answer(model, {index: prompts[index] for index in batch}, requests)
        return [completions[index] for index in range(len(requests))]

    def _answer(
        self, model: PreTrainedModel, prompts: dict[int, list[int]], requests: Sequence[PolicyRequest]
    ) -> dict[int, Completion]:
        """Answers one batch; prompts and completions by the request's index."""
        start = time.perf_counter()
        replies = generate(
            model,
            list(prompts.values()),
            max_tokens=[requests[index].max_tokens for index in prompts],
            stop_ids=self._stop_ids,
            pad_id=self._tokenizer.pad_token_id,
            temperature=self._temperature,
            generator=self._generator,
        )
        seconds = (time.perf_counter() - start) / len(prompts)
        return {
            index: Completion(
                text=str(self._tokenizer.decode(reply, skip_special_tokens=True)).strip(),
                prompt_tokens=len(prompts[index]),
                completion_tokens=len(reply),
                seconds=seconds,
                flops=generation_flops(self._shape, len(prompts[index]), len(reply)),
            )
            for index, reply in zip(prompts, replies, strict=True)
        }

    def _encode(self, request: PolicyRequest) -> list[int]:
        """Token ids of a conversation, up to where the role speaks."""
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    @contextmanager
    def _speaking_as(self, role: str) -> Iterator[PreTrainedModel]:
        """The model that answers for a role."""
        adapter = role if isinstance(self._model, PeftModel) and role in self._model.peft_config else None
        if self._merge:
            yield self._merged_copy(adapter)
        else:
            with _evaluating(self._model, adapter):
                yield self._model

    def _merged_copy(self, adapter: str | None) -> PreTrainedModel:
        """The dense copy for an adapter, made again when the adapter was trained since."""
        version = sum(
            parameter._version  # PyTorch counts a tensor's in-place changes
            for name, parameter in self._model.named_parameters()
            if f".{adapter}." in name
        )
        cached = self._merged.get(adapter)
        if cached is None or cached[0] != version:
            self._merged[adapter] = cached = (version, merged_copy(self._model, adapter))
        return cached[1]


@contextmanager
def _evaluating(model: Any, adapter: str | None) -> Iterator[None]:
    """Evaluation mode with one adapter (None: without adapters); puts everything back afterwards."""
    training = model.training
    model.eval()
    try:
        # What training compiled is not meant for a cache that grows token by token.
        with torch.compiler.set_stance("force_eager"):
            if not isinstance(model, PeftModel):
                yield
            elif adapter is None:
                with model.disable_adapter():
                    yield
            else:
                before = model.active_adapter
                model.set_adapter(adapter)
                try:
                    yield
                finally:
                    model.set_adapter(before)
    finally:
        model.train(training)


def _stop_ids(model: PeftModel | PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens that end a turn: the tokenizer's, and the model's own (chat models often name several)."""
    generation_config = getattr(model, "generation_config", None)
    ends = getattr(generation_config, "eos_token_id", None)
    ids = set(ends) if isinstance(ends, list | tuple) else {ends}
    return {token for token in ids | {tokenizer.eos_token_id} if token is not None}


def load_local_policy(
    base_model: str | None = None,
    adapters: Path | None = None,
    *,
    quantization: Quantization = "nf4",
    max_batch: int = 8,
    device: torch.device | str | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> LocalPolicy:
    """Loads a model, and its roles' adapters, to play with.

    Args:
        base_model: See :func:`~prost_lightning.modules.qlora.resolve_model`. Default: the one that the adapters name;
            with neither, the built-in ``smollm2-135m-instruct``.
        adapters: Directory of exported adapters (``<role>/`` each); None plays with the base alone.
        quantization: ``nf4`` or ``none``.
        max_batch: Most turns answered at once.
        device: Default: CUDA if there is one.
        temperature: 0 says the likeliest.
        seed: Of the drawing.

    Returns:
        The policy, whose name says what plays: base, quantization and the content of the adapters.

    Raises:
        UserError: The model or the adapters cannot be loaded, or ``max_batch`` is below 1.
    """
    if base_model is None:
        base_model = adapters_base(adapters) if adapters is not None else "smollm2-135m-instruct"
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = load_base(base_model, quantization, device=device)
    name = f"{base_model} ({quantization})"
    if adapters is not None:
        model = load_adapters(model, adapters)
        name += f" with adapters {adapters_fingerprint(adapters)}"
        rank_zero_info(
            f"{adapters}: adapters for {', '.join(sorted(model.peft_config))}; other roles are answered by the base."
        )
    return LocalPolicy(model, load_tokenizer(base_model), name, max_batch=max_batch, temperature=temperature, seed=seed)
