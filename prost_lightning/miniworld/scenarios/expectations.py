"""What a solution must change in the databases, and the evaluator that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ANSWER_REQUIREMENT = "the answer is right (none where the task asks for none)"

# Numbers, times and lists compare alike whether they come from a database or from a JSON file.
_HELPERS = """
def plain(value):
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return round(float(value), 2)
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value.isoformat()[:19]


def field(record, path):
    for name in path.split("."):
        record = getattr(record, name)
    return plain(record)


def rows(records, paths):
    return sorted(([field(record, path) for path in paths] for record in records), key=json.dumps)


def expected(private_data, key):
    return sorted((plain(row) for row in private_data["rows"][key]), key=json.dumps)
"""


@dataclass(frozen=True)
class Expectation:
    """What may or must happen to one table.

    Attributes:
        change: ``added``, ``updated``, ``removed``: exactly the rows that the draft names; ``side``: what follows from
            the others.
        table: As ``spotify.SongLike``.
        fields: Fields by which rows are compared, also of related rows, as ``song.title``.
        only: The fields that an updated row differs in; exactly these, or of a ``side`` at most these.
        grows: Whether rows may be added to a ``side``.
        shrinks: Whether rows may be removed from a ``side``.
    """

    change: str
    table: str
    fields: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    grows: bool = False
    shrinks: bool = False

    @property
    def key(self) -> str:
        """How a draft calls its rows."""
        return f"{self.change} {self.table}"


def added(table: str, *fields: str) -> Expectation:
    """Exactly the draft's rows are new; compared by ``fields``."""
    return Expectation("added", table, fields)


def updated(table: str, *fields: str, only: Sequence[str]) -> Expectation:
    """Exactly the draft's rows changed, each in exactly the fields ``only``; compared by ``fields`` afterwards."""
    return Expectation("updated", table, fields, tuple(only))


def removed(table: str, *fields: str) -> Expectation:
    """Exactly the draft's rows are gone; compared by ``fields``."""
    return Expectation("removed", table, fields)


def side(table: str, *only: str, grows: bool = False, shrinks: bool = False) -> Expectation:
    """The app itself may change the fields ``only`` of rows here, add rows (``grows``), remove some (``shrinks``)."""
    return Expectation("side", table, (), only, grows, shrinks)


def evaluation_source(expectations: Sequence[Expectation]) -> str:
    """Writes the evaluator of a template's tasks in the form that AppWorld imports.

    Args:
        expectations: What a right solution changes.
    """
    tables = sorted({expectation.table for expectation in expectations})
    lines = [
        "import json\n",
        _HELPERS,
        "\ndef evaluate(test, public_data, private_data, main_user, models, ground_truth_answer):",
        "    predicted_answer = json.loads(models.end.supervisor.Task.first().answer)",
        f'    with test("{ANSWER_REQUIREMENT}"):',
        "        test.answer(predicted_answer, ground_truth_answer)",
        '    with test("no table changed but those that the task is about"):',
        f'        test.case(sorted(models.changed_model_names() - set({tables})), "==", [])',
    ]
    for table in tables:
        lines += _check_table(table, [e for e in expectations if e.table == table])
    return "\n".join(lines) + "\n"


def _check_table(table: str, expectations: list[Expectation]) -> list[str]:
    lines = [f'    added, updated, removed = models.changed_records("{table}")']
    free = {"added", "updated", "removed"}
    for expectation in expectations:
        if expectation.change == "side":
            free -= {"updated", *(["added"] * expectation.grows), *(["removed"] * expectation.shrinks)}
            lines += [
                f'    with test("rows of {table} changed in nothing but what follows from the task"):',
                "        for record in updated:",
                f'            changed = models.changed_field_names("{table}", record.id)',
                f'            test.case(sorted(set(changed) - set({sorted(expectation.only)})), "==", [])',
            ]
            continue
        free -= {expectation.change}
        paths = list(expectation.fields)
        lines += [
            f'    with test("exactly the right rows of {table} were {expectation.change}"):',
            f'        right = expected(private_data, "{expectation.key}")',
            f'        test.case(rows({expectation.change}, {paths}), "==", right)',
        ]
        if expectation.change == "updated":
            lines += [
                "        for record in updated:",
                f'            changed = models.changed_field_names("{table}", record.id)',
                f'            test.case(sorted(changed), "==", {sorted(expectation.only)})',
            ]
    for change in sorted(free):
        lines += [
            f'    with test("no row of {table} was {change}"):',
            f'        test.case(len({change}), "==", 0)',
        ]
    return lines
