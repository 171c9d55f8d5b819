from __future__ import annotations

import ast
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prost_lightning.agents import prompts
from prost_lightning.agents.prompts import Code, Finish, FormatError, GiveUp, HandOut, Result, Verdict

line = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1).map(str.strip).filter(bool)
name = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1)


@given(kind=name, apps=st.lists(name), goal=line, plan=line)
def test_a_hand_out_is_read_back(kind: str, apps: list[str], goal: str, plan: str) -> None:
    hand_out = HandOut(kind, tuple(apps), goal, plan)
    assert prompts.parse_orchestrator(prompts.render_hand_out(hand_out)) == hand_out


@given(st.none() | st.text() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False))
@example("\x85")
@example(" a\nFINISH: b")
@example("")
def test_an_answer_is_read_back_with_its_type(answer: str | int | float | None) -> None:
    reply = prompts.parse_orchestrator(prompts.render_finish(answer))
    assert isinstance(reply, Finish)
    assert reply.answer == answer
    assert type(reply.answer) is type(answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("FINISH", None),
        ("FINISH:", None),
        ("FINISH: 12", 12),
        ("FINISH: 2.5", 2.5),
        ('FINISH: "12"', "12"),
        ("FINISH: Blue Moon", "Blue Moon"),
        ("FINISH: true", "true"),
        ("FINISH: 1, 2", "1, 2"),
        ("FINISH: [1]", "[1]"),
    ],
)
def test_answers_are_numbers_or_text(text: str, answer: object) -> None:
    assert prompts.parse_orchestrator(text) == Finish(answer)  # type: ignore[arg-type]


@given(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none())
def test_the_answer_reaches_complete_task_as_a_literal(answer: str | int | float | None) -> None:
    call = ast.parse(prompts.complete_task_code(answer), mode="eval").body
    assert isinstance(call, ast.Call)
    arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert arguments == ({} if answer is None else {"answer": answer}) | {"status": "success"}


@given(line)
def test_results_and_reasons_are_read_back(text: str) -> None:
    assert prompts.parse_executor(prompts.render_result(text)) == Result(text)
    for verdict in (Verdict(True), Verdict(False, text)):
        assert prompts.parse_verdict(prompts.render_verdict(verdict)) == verdict


def test_code_is_read_back_also_with_words_around_it() -> None:
    source = 'for x in range(3):\n    print("```", x)'
    assert prompts.parse_executor(f"I will count.\n{prompts.render_code(source)}\nRESULT: 3") == Code(source)
    assert prompts.find_code("```\nprint(1)\n```") == Code("print(1)")


def test_code_that_the_token_limit_cut_off_is_not_run() -> None:
    with pytest.raises(FormatError):
        prompts.parse_executor("```python\nprint(1)\npri")


def test_the_earliest_form_counts() -> None:
    text = "SUBTASK (login; spotify): Log in.\nPLAN: Log in.\nFINISH: 3"
    assert isinstance(prompts.parse_orchestrator(text), HandOut)
    assert prompts.parse_orchestrator("GIVE UP\nFINISH: 3") == GiveUp()


@given(st.text())
def test_parsing_never_fails_otherwise(text: str) -> None:
    for parse in (prompts.parse_orchestrator, prompts.parse_executor, prompts.parse_code, prompts.parse_verdict):
        with contextlib.suppress(FormatError):
            parse(text)


@given(st.text(), st.integers(1, 200))
def test_outputs_are_cut(text: str, limit: int) -> None:
    assert len(prompts.shorten(text, limit)) <= limit + 3


def test_of_a_traceback_the_end_is_kept_and_carets_are_dropped() -> None:
    output = "Execution failed. Traceback:\n" + "    x\n" * 100 + "    ^^^\nNameError: name 'y' is not defined"
    assert prompts.shorten(output, 60).endswith("x\nNameError: name 'y' is not defined")
    assert prompts.shorten("12345", 3) == "123..."
