from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from prost_lightning.agents.local_policy import LocalPolicy, load_local_policy
from prost_lightning.agents.policy import Policy, PolicyRequest
from prost_lightning.errors import UserError
from prost_lightning.flops import ModelShape, generation_flops
from prost_lightning.modules.qlora import (
    LoraSettings,
    Quantization,
    add_adapters,
    export_adapters,
    load_base,
    load_tokenizer,
)
from prost_lightning.trajectory import Message, Role


def strengthen(model: PeftModel, seed: int) -> None:
    """Gives adapters an effect that shows in the first token."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def model(tiny_model: Path) -> PeftModel:
    base = load_base(tiny_model, "none", torch.float32)
    model = add_adapters(base, ["orchestrator", "executor"], LoraSettings(r=4, alpha=8))
    strengthen(model, 0)
    return model.train()


def request(role: Role, words: int, max_tokens: int = 6) -> PolicyRequest:
    messages = (Message("system", f"You are the {role}."), Message("user", "word " * words))
    return PolicyRequest("abc_1", role, 1, 0, messages, max_tokens)


ROLES: tuple[Role, ...] = ("orchestrator", "executor", "critic")
REQUESTS = [request(ROLES[index % 3], 5 * (7 - index), 3 + index) for index in range(7)]


def policy(model: PeftModel, tiny_model: Path, **options: object) -> LocalPolicy:
    return LocalPolicy(model, load_tokenizer(tiny_model), "tiny", **options)  # type: ignore[arg-type]


def test_it_is_a_policy(model: PeftModel, tiny_model: Path) -> None:
    assert isinstance(policy(model, tiny_model), Policy)


def test_batches_and_merging_change_no_answer(model: PeftModel, tiny_model: Path) -> None:
    """Any mix of roles, in the order of the requests; the critic has no adapter here."""
    expected = [policy(model, tiny_model, merge=False).generate([one])[0].text for one in REQUESTS]
    assert len(set(expected)) > 4
    for merge in (False, True):
        for max_batch in (1, 2, 8):
            answers = policy(model, tiny_model, merge=merge, max_batch=max_batch).generate(REQUESTS)
            assert [answer.text for answer in answers] == expected


def test_tokens_and_operations_are_counted_exactly(model: PeftModel, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    shape = ModelShape.from_config(model.config)
    for one, answer in zip(REQUESTS, policy(model, tiny_model).generate(REQUESTS), strict=True):
        messages = [{"role": message.role, "content": message.content} for message in one.messages]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert answer.prompt_tokens == len(prompt)
        assert answer.completion_tokens == one.max_tokens  # a random model does not stop by itself
        assert answer.flops == generation_flops(shape, len(prompt), one.max_tokens)
        assert answer.seconds > 0


def test_a_role_without_an_adapter_is_answered_by_the_base(model: PeftModel, tiny_model: Path) -> None:
    base = LocalPolicy(load_base(tiny_model, "none", torch.float32), load_tokenizer(tiny_model), "base")
    critic, executor = request("critic", 9), request("executor", 9)
    for merge in (False, True):
        ours = policy(model, tiny_model, merge=merge)
        assert ours.generate([critic])[0].text == base.generate([critic])[0].text
        assert ours.generate([executor])[0].text != base.generate([executor])[0].text


@pytest.mark.parametrize("merge", [False, True])
def test_a_model_in_training_is_left_as_it_was(model: PeftModel, tiny_model: Path, merge: bool) -> None:
    model.set_adapter("executor")
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    policy(model, tiny_model, merge=merge).generate(REQUESTS)
    assert model.training
    assert model.active_adapter == "executor"
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == trainable
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())
    model(input_ids=torch.arange(9)[None], labels=torch.arange(9)[None]).loss.backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if ".executor." in name)


def test_it_speaks_with_the_weights_of_the_moment(model: PeftModel, tiny_model: Path) -> None:
    """A merged copy made before a training step is not used after it."""
    merged, plain = (policy(model, tiny_model, merge=merge) for merge in (True, False))
    before = merged.generate([REQUESTS[1]])[0].text
    strengthen(model, 1)
    assert merged.generate([REQUESTS[1]])[0].text == plain.generate([REQUESTS[1]])[0].text != before


def test_exported_adapters_play_as_the_trained_ones(tiny_model: Path, tmp_path: Path) -> None:
    trained = add_adapters(load_base(tiny_model, "nf4"), ["orchestrator", "executor"], LoraSettings(r=4, alpha=8))
    strengthen(trained, 0)
    expected = [answer.text for answer in policy(trained, tiny_model, merge=True).generate(REQUESTS)]
    export_adapters(trained, tmp_path)
    for base_model in (None, str(tiny_model)):
        loaded = load_local_policy(base_model, tmp_path, quantization="nf4", device="cpu")
        assert [answer.text for answer in loaded.generate(REQUESTS)] == expected
        assert str(tiny_model) in loaded.name


def test_the_name_tells_apart_what_plays_differently(tiny_model: Path, tmp_path: Path) -> None:
    trained = add_adapters(load_base(tiny_model, "none"), ["executor"], LoraSettings(r=4, alpha=8))

    def name(quantization: Quantization = "none", directory: Path = tmp_path) -> str:
        return load_local_policy(None, directory, quantization=quantization, device="cpu").name

    export_adapters(trained, tmp_path)
    first = name()
    shutil.copytree(tmp_path / "executor", tmp_path / "copy" / "executor")
    assert name(directory=tmp_path / "copy") == name() == first
    assert name("nf4") != first
    strengthen(trained, 2)
    export_adapters(trained, tmp_path)
    assert name() != first


def test_batches_of_nothing_are_refused(model: PeftModel, tiny_model: Path) -> None:
    for max_batch in (0, -1):
        with pytest.raises(UserError, match=f"max_batch is {max_batch}; set it to 1 or more"):
            policy(model, tiny_model, max_batch=max_batch)


def test_temperature_draws_by_seed(model: PeftModel, tiny_model: Path) -> None:
    def texts(seed: int) -> list[str]:
        return [answer.text for answer in policy(model, tiny_model, temperature=1.0, seed=seed).generate(REQUESTS)]

    assert texts(1) == texts(1) != texts(2)
