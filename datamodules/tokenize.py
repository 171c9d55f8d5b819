"""Conversations as token sequences in which every trained turn is a span that knows its sub-task."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from prost_lightning.errors import UserError
from prost_lightning.trajectory import Conversation, Message


@dataclass(frozen=True)
class Span:
    """The tokens of one trained assistant message: its content and its end-of-turn token.

    Attributes:
        start: First token.
        end: One past the last token; equal to ``start`` when the turn has no token to learn from.
        position: Sub-task that the turn works on, as the message states it.
    """

    start: int
    end: int
    position: int | None


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """A whole conversation, tokenised once.

    Attributes:
        input_ids: Tokens, shape (T,), int64.
        spans: Trained turns, in order.
    """

    input_ids: torch.Tensor
    spans: tuple[Span, ...]


def tokenize(conversations: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase) -> Iterator[TokenSequence]:
    """Renders conversations with the tokenizer's chat template and finds the tokens of every trained turn.

    A turn is found by rendering the conversation up to it (with the prompt for a reply) and including it: what the
    second text has more than the first is what the role must learn to say. This works for every chat template whose
    rendering of a conversation begins with the rendering of its beginning.

    Args:
        conversations: The conversations. Assistant messages with ``train=False`` stay in the context, unlabelled.
        tokenizer: A fast tokenizer that has a chat template.

    Yields:
        One sequence for each conversation, in order.

    Raises:
        UserError: The chat template rewrites earlier messages when later ones follow, refuses the messages, or ends an
            assistant turn without a special token, so that the model could not learn where to stop.
    """
    if not conversations:
        return
    rendered = [_render(conversation.messages, tokenizer) for conversation in conversations]
    # One call for all texts: the tokenizer works on them in parallel.
    encoded = tokenizer(
        [text for text, _ in rendered],
        add_special_tokens=False,  # the template has written them
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,  # too long sequences are counted and reported by the data module
    )
    special = set(tokenizer.added_tokens_decoder)
    for (_, turns), ids, offsets in zip(rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        starts = [start for start, _ in offsets]
        spans = []
        for message, text_start, text_end in turns:
            start, end = bisect_left(starts, text_start), bisect_left(starts, text_end)
            if start == len(starts) or starts[start] != text_start:
                end = start
            if end > start and ids[end - 1] not in special:
                raise UserError(
                    f"{tokenizer.name_or_path}: its chat template ends an assistant message without a special token, "
                    "so a model could not learn where to stop; give the tokenizer one with an end-of-turn token."
                )
            spans.append(Span(start, end, message.position))
        yield TokenSequence(torch.tensor(ids), tuple(spans))


def _render(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase
) -> tuple[str, list[tuple[Message, int, int]]]:
    """Renders one conversation; returns its text, and each trained message with its first and last character."""
    chat = [{"role": message.role, "content": message.content} for message in messages]
    whole = _apply(tokenizer, chat)
    turns = []
    for index, message in enumerate(messages):
        if message.role != "assistant" or not message.train:
            continue
        prompt = _apply(tokenizer, chat[:index], add_generation_prompt=True)
        upto = whole if index + 1 == len(chat) else _apply(tokenizer, chat[: index + 1])
        if not (upto.startswith(prompt) and whole.startswith(upto)):
            raise UserError(
                f"{tokenizer.name_or_path}: its chat template renders message {index + 1} of {len(chat)} differently "
                "once others follow, so turns cannot be told apart; use a template that leaves earlier messages alone."
            )
        # What follows the end-of-turn token (a line break) is the template's own; generation stops before it.
        turns.append((message, len(prompt), len(upto.rstrip())))
    return whole, turns


def _apply(
    tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]], *, add_generation_prompt: bool = False
) -> str:
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=add_generation_prompt))
    except (TemplateError, ValueError) as error:
        raise UserError(
            f"{tokenizer.name_or_path}: its chat template refuses a conversation of {len(chat)} messages ({error}); "
            "use a tokenizer whose template takes system, user and assistant messages."
        ) from error
