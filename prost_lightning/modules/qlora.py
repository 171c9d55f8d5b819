"""QLoRA: a frozen 4-bit base shared by all roles, and one LoRA adapter for each role."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from prost_lightning.errors import UserError
from prost_lightning.modules.adapters import seeded
from prost_lightning.modules.builtin_models import BUILTIN_MODELS, builtin_model_directory
from prost_lightning.modules.packed_attention import PER_SEQUENCE_ATTENTION

Quantization = Literal["nf4", "none"]


@dataclass(frozen=True)
class LoraSettings:
    """Shape of each role's adapter. The defaults are this project's choice.

    Attributes:
        r: Rank.
        alpha: Scale; an adapter's output is multiplied by ``alpha / r``.
        dropout: Dropout before the adapter, 0 to 1.
        target_modules: ``all-linear`` (every linear layer except the head), or names of layers.
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"


def resolve_model(name: str | Path) -> str | Path:
    """Finds out what a model name means.

    Args:
        name: A built-in model (``smollm2-135m-instruct``), a local directory, or an id on the Hugging Face hub.

    Returns:
        A local directory, or the hub id unchanged. A built-in model is fetched into the cache on first use.

    Raises:
        UserError: A local path has no model in it, or a built-in model cannot be fetched.
    """
    text = str(name)
    if text in BUILTIN_MODELS:
        return builtin_model_directory(text)
    path = Path(text).expanduser()
    if (path / "config.json").is_file():
        return path
    looks_local = text.startswith((".", "~", os.sep)) or text.count("/") > 1 or path.exists()
    if looks_local:
        raise UserError(
            f"{text}: no model directory (no config.json in it); name one, a hub id, or {_builtin_names()}."
        )
    return text


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """Loads a model's tokenizer.

    Args:
        name: See :func:`resolve_model`.

    Returns:
        A tokenizer that has a chat template and a padding token.

    Raises:
        UserError: It cannot be loaded, or has no chat template.
    """
    source = resolve_model(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error
    if tokenizer.chat_template is None:
        raise UserError(
            f"{name}: the tokenizer has no chat template; use an instruct model, or add chat_template.jinja to it."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    name: str | Path,
    quantization: Quantization = "nf4",
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    quant_storage: torch.dtype = torch.uint8,
) -> PreTrainedModel:
    """Loads the frozen base.

    Args:
        name: See :func:`resolve_model`.
        quantization: ``nf4`` keeps the weights of linear layers in 4 bits (bitsandbytes); ``none`` leaves them alone.
        dtype: What is computed in, and what unquantised weights are kept in. Default: :func:`compute_dtype`.
        device: Where it goes. It is placed there at once, so a quantised model is never moved.
        quant_storage: Type of the tensors that 4-bit weights are packed into; a floating-point one can be sharded.

    Returns:
        The model, without gradients, in evaluation mode.

    Raises:
        UserError: It cannot be loaded.
    """
    source = resolve_model(name)
    device = torch.device(device)
    dtype = dtype or compute_dtype(device)
    quantized = None
    if quantization == "nf4":
        quantized = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=quant_storage,
        )
    try:
        base = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            quantization_config=quantized,
            device_map={"": device},
            attn_implementation=PER_SEQUENCE_ATTENTION,
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(name, error) from error
    base.requires_grad_(False)
    keep_trainable_on_cpu(base)
    # Exported adapters name their base: by the name that works everywhere, not by a cache directory of this machine.
    base.name_or_path = str(name)
    base.eval()
    return base


@cache
def compute_dtype(device: torch.device) -> torch.dtype:
    """The faster of bfloat16 and float32 on a device: bfloat16, unless a CPU lacks instructions for it."""
    if device.type != "cpu":
        return torch.bfloat16
    from bitsandbytes.functional import has_avx512bf16

    return torch.bfloat16 if has_avx512bf16() else torch.float32


def keep_trainable_on_cpu(model: torch.nn.Module) -> None:
    """Stops bitsandbytes from repacking 4-bit weights for inference on CPUs with AVX512-BF16.

    There, one forward pass without gradients (a validation) repacks the weights for good; after that, gradients of
    everything below are silently missing. Call it after loading a quantised model.

    Args:
        model: Any module; its 4-bit layers are changed in place.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def add_adapters(
    base: PreTrainedModel, roles: Sequence[str], settings: LoraSettings, seed: int | None = None
) -> PeftModel:
    """Puts one new adapter for each role on a shared base.

    Each is initialised from the seed and its name, so that it begins as it would without the others.

    Args:
        base: From :func:`load_base`; changed in place.
        roles: Names of the adapters.
        settings: Their shape.
        seed: Of the initialisation. Default: the one that PyTorch was seeded with last.

    Returns:
        The model with all adapters; the first role's is active.

    Raises:
        UserError: No layer matches ``settings.target_modules``.
    """
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )
    seed = torch.initial_seed() if seed is None else seed
    try:
        with seeded(seed, roles[0]):
            model = get_peft_model(base, config, adapter_name=roles[0])
        for role in roles[1:]:
            with seeded(seed, role):
                model.add_adapter(role, config)
    except ValueError as error:
        raise UserError(f"lora.target_modules={settings.target_modules}: {error}") from error
    return model


def export_adapters(model: PeftModel, directory: str | Path, weights: Mapping[str, torch.Tensor] | None = None) -> None:
    """Writes every adapter in PEFT's own format, as ``directory/<role>``.

    Each loads without this package: ``PeftModel.from_pretrained(base, directory / role)``.

    Args:
        model: The model with its adapters.
        directory: Where the roles' directories go; made if missing.
        weights: All adapters' weights by their names in the model. Default: those that the model has.
    """
    model.save_pretrained(
        str(directory),
        selected_adapters=list(model.peft_config),
        save_embedding_layers=False,
        state_dict=None if weights is None else dict(weights),
    )


def adapter_roles(directory: str | Path) -> list[str]:
    """Names of the adapters that :func:`export_adapters` wrote into a directory, sorted.

    Raises:
        UserError: There is none.
    """
    directory = Path(directory)
    roles = sorted(path.parent.name for path in directory.glob("*/adapter_config.json"))
    if not roles:
        raise UserError(
            f"{directory}: no adapters (no <role>/adapter_config.json in it); name the adapters directory of a run."
        )
    return roles


def adapters_base(directory: str | Path) -> str:
    """The model that exported adapters were trained on, as they name it themselves.

    Raises:
        UserError: There are no adapters, they cannot be read, or they do not name one model.
    """
    directory = Path(directory)
    names = set()
    for role in adapter_roles(directory):
        with _reading_adapter(directory / role):
            names.add(PeftConfig.from_pretrained(str(directory / role)).base_model_name_or_path)
    if len(names) != 1 or None in names:
        raise UserError(
            f"{directory}: the adapters do not name one base model ({', '.join(sorted(map(str, names)))}); say which "
            "with base_model, or export them again."
        )
    return str(names.pop())


def adapters_fingerprint(directory: str | Path) -> str:
    """Tells exported adapters apart by their content: a directory's are other ones after it was trained into again.

    Args:
        directory: What :func:`export_adapters` wrote.

    Returns:
        As ``sha256:1a2b3c4d5e6f``.

    Raises:
        UserError: The directory holds no adapters.
    """
    directory = Path(directory)
    digest = hashlib.sha256()
    for role in adapter_roles(directory):
        for file in sorted((directory / role).glob("adapter_*")):
            digest.update(f"{role}/{file.name}:{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()[:12]}"


def load_adapters(base: PreTrainedModel, directory: str | Path, *, trainable: bool = False) -> PeftModel:
    """Puts exported adapters on a base.

    Args:
        base: From :func:`load_base`; changed in place.
        directory: What :func:`export_adapters` wrote.
        trainable: Whether to go on training them.

    Returns:
        The model with an adapter for each role found.

    Raises:
        UserError: The directory holds no adapters, or one that cannot be read or does not fit the base.
    """
    directory = Path(directory)
    first, *others = adapter_roles(directory)
    with _reading_adapter(directory / first):
        model = PeftModel.from_pretrained(base, str(directory / first), adapter_name=first, is_trainable=trainable)
    for role in others:
        with _reading_adapter(directory / role):
            model.load_adapter(str(directory / role), adapter_name=role, is_trainable=trainable)
    return model


@contextmanager
def _reading_adapter(path: Path) -> Iterator[None]:
    """Says in one sentence what is wrong with an adapter; PEFT raises whatever its parts raise."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(
            f"{path}: cannot load this adapter ({reason}); name the base_model that it was trained on, or export it "
            "again."
        ) from error


def _builtin_names() -> str:
    return "the built-in " + " or ".join(BUILTIN_MODELS)


def _cannot_load(name: str | Path, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0]
    return UserError(
        f"{name}: cannot load this model ({reason}); name a local directory, a hub id, or {_builtin_names()}."
    )
