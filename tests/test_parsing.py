from __future__ import annotations

import pytest

from prost_lightning.parsing import OneSentenceParser, one_sentence


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("Parser key \"model.lr\":\n  Expected a <class 'float'>. Got value: abc", "model.lr: expected float, got abc"),
        (
            'Parser key "trainer.max_epochs":\n  Does not validate against any of the Union subtypes\n'
            "  Subtypes: [<class 'int'>, <class 'NoneType'>]\n  Errors:\n    - Expected a <class 'int'>\n"
            "    - Expected a <class 'NoneType'>\n  Given value type: <class 'str'>\n  Given value: 2.5",
            "trainer.max_epochs: expected int or null, got 2.5",
        ),
        ("Parser key \"config\": File does not exist: 'nope.yaml'", "config: File does not exist: 'nope.yaml'"),
        ("unrecognized arguments: --model.lrr=3", "unrecognized arguments: --model.lrr=3"),
    ],
)
def test_a_parser_message_becomes_one_line(message: str, sentence: str) -> None:
    assert one_sentence(message) == sentence


def test_a_wrong_argument_exits_with_code_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneSentenceParser(prog="tool")
    parser.add_argument("--size", type=int)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--size=big"])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error: size: expected int, got big; --help lists all options."]
