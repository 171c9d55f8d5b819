"""Command-line parsers that answer a mistake with one sentence instead of a page of usage."""

from __future__ import annotations

import re
import sys
from typing import NoReturn

from jsonargparse import ArgumentParser

_KEY = re.compile(r'^(?:Parser|Group) key "(?P<key>[^"]+)":\s*(?P<rest>.*)$', re.DOTALL)
_EXPECTED = re.compile(r"Expected an? (?:<class '(?P<name>[\w.]+)'>|(?P<other>[^\n.:]+))")
_VALUE = re.compile(r"(?:Given value|Got value): (?P<value>[^\n]+)")
_PYTHON_TO_YAML = {"NoneType": "null", "str": "text", "bool": "true or false", "dict": "a mapping", "list": "a list"}


def one_sentence(message: str) -> str:
    """Boils a parser's error message down to one line that names the key, what was expected and what was given.

    Args:
        message: The message as jsonargparse words it, often several indented lines.

    Returns:
        One line without a line break.
    """
    match = _KEY.match(message.strip())
    if match is None:
        return _flat(message)
    rest = match["rest"]
    expected = dict.fromkeys(
        _PYTHON_TO_YAML.get(found["name"], found["name"]) if found["name"] else found["other"].strip()
        for found in _EXPECTED.finditer(rest)
    )
    value = _VALUE.search(rest)
    if expected and value:
        return f"{match['key']}: expected {' or '.join(expected)}, got {value['value'].strip()}"
    return f"{match['key']}: {_flat(rest)}"


def _flat(text: str) -> str:
    lines = (line.strip().lstrip("- ") for line in text.splitlines())
    return "; ".join(line.rstrip(".:") for line in lines if line)


class OneSentenceParser(ArgumentParser):
    """A parser whose error is one sentence on stderr and exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the condensed message with a hint at ``--help``, and exits."""
        sys.stderr.write(f"error: {one_sentence(message)}; --help lists all options.\n")
        self.exit(2)
