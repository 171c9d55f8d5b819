from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from prost_lightning.datamodules.tokenize import TokenSequence, tokenize
from prost_lightning.errors import UserError
from prost_lightning.trajectory import Conversation, Message

END = "<|im_end|>"


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_model)


def one(tokenizer: PreTrainedTokenizerBase, *messages: Message) -> TokenSequence:
    (sequence,) = tokenize([Conversation("executor", list(messages))], tokenizer)
    return sequence


def spoken(tokenizer: PreTrainedTokenizerBase, sequence: TokenSequence) -> list[str]:
    return [tokenizer.decode(sequence.input_ids[span.start : span.end]) for span in sequence.spans]


def chat_ids(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> list[int]:
    """What a model reads before it replies, as inference code makes it."""
    chat: list[dict[str, Any]] = [{"role": message.role, "content": message.content} for message in messages]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_only_trained_assistant_messages_are_spans(tokenizer: PreTrainedTokenizerBase) -> None:
    sequence = one(
        tokenizer,
        Message("system", "You act."),
        Message("user", "Go."),
        Message("assistant", "mistake", 1, train=False),
        Message("user", "REJECTED"),
        Message("assistant", "print(1)", 1),
        Message("user", "OUTPUT"),
        Message("assistant", "RESULT: 1", 2),
    )
    assert spoken(tokenizer, sequence) == ["print(1)" + END, "RESULT: 1" + END]
    assert [span.position for span in sequence.spans] == [1, 2]
    assert "mistake" in tokenizer.decode(sequence.input_ids)


def test_conversations_keep_their_order(tokenizer: PreTrainedTokenizerBase) -> None:
    conversations = [
        Conversation("critic", [Message("user", str(number)), Message("assistant", f"ACCEPT {number}", 1)])
        for number in range(5)
    ]
    sequences = list(tokenize(conversations, tokenizer))
    assert [spoken(tokenizer, sequence) for sequence in sequences] == [[f"ACCEPT {n}{END}"] for n in range(5)]
    assert list(tokenize([], tokenizer)) == []


# SmolLM2 has no token for most control characters, nor for the bytes of the rarest planes of Unicode.
characters = st.characters(
    max_codepoint=0x1FFFF, exclude_categories=["Cc", "Cs"], include_characters="\n\t", exclude_characters="<|>"
)
text = st.text(alphabet=characters, max_size=30)
reply = st.builds("{}{}".format, st.sampled_from(["print", "7", "É", "日", "🙂", "```"]), text).map(str.rstrip)


@settings(max_examples=60)
@given(turns=st.lists(st.tuples(text, reply), min_size=1, max_size=3))
def test_training_sees_what_inference_sees(tokenizer: PreTrainedTokenizerBase, turns: list[tuple[str, str]]) -> None:
    """Up to each span lies exactly the prompt of inference; the span is the reply with its end token."""
    messages = [message for ask, answer in turns for message in (Message("user", ask), Message("assistant", answer, 1))]
    sequence = one(tokenizer, *messages)
    assert spoken(tokenizer, sequence) == [answer + END for _, answer in turns]
    for number, span in enumerate(sequence.spans):
        prompt = chat_ids(tokenizer, messages[: 2 * number + 1])
        assert sequence.input_ids[: span.start].tolist() == prompt


def with_template(tiny_model: Path, template: str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = template
    return tokenizer


def test_another_template_works_as_well(tiny_model: Path) -> None:
    tokenizer = with_template(
        tiny_model,
        "{% for m in messages %}[{{ m['role'] }}]:{{ m['content'] }}{% if m['role'] == 'assistant' %}"
        "{{ eos_token }}{% endif %}\n\n{% endfor %}{% if add_generation_prompt %}[assistant]:{% endif %}",
    )
    sequence = one(tokenizer, Message("user", "Go."), Message("assistant", "A b", 1), Message("user", "And?"))
    assert spoken(tokenizer, sequence) == [f"A b{tokenizer.eos_token}"]


def test_a_reply_that_merges_with_the_prompt_has_an_empty_span(tiny_model: Path) -> None:
    """The prompt ends in a space, which is one token with the first word of the reply."""
    tokenizer = with_template(
        tiny_model,
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
    )
    (span,) = one(tokenizer, Message("user", "Go."), Message("assistant", "Gone.", 1)).spans
    assert span.start == span.end


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (  # as reasoning models do: only the last reply is rendered in full
            "{% for m in messages %}<|im_start|>{{ m['role'] if not loop.last else 'LAST' }}\n{{ m['content'] }}"
            "<|im_end|>\n{% endfor %}",
            "differently once others follow",
        ),
        (
            "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}",
            "without a special token",
        ),
        ("{{ raise_exception('no system role here') }}", "no system role here"),
    ],
)
def test_unusable_templates_are_refused(tiny_model: Path, template: str, says: str) -> None:
    tokenizer = with_template(tiny_model, template)
    with pytest.raises(UserError, match=says):
        one(tokenizer, Message("user", "Go."), Message("assistant", "Gone.", 1), Message("user", "Thanks."))
