"""Months and years that an instruction names, with the conditions that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.dates import NOW

_YEARS = {NOW.year: "this year", NOW.year - 1: "last year"}


@dataclass(frozen=True)
class Period:
    """A month of a year, or a whole year.

    Attributes:
        year: The year.
        month: 1 to 12; 0 for the whole year.
    """

    year: int
    month: int = 0

    @property
    def iso(self) -> str:
        """As a date begins: ``2023-03``, or ``2023``."""
        return f"{self.year}-{self.month:02d}" if self.month else str(self.year)

    @property
    def said(self) -> str:
        """As somebody says it now: ``in March of this year``, ``in March 2021``, ``last year``, ``in 2021``."""
        year = _YEARS.get(self.year)
        if not self.month:
            return year or f"in {self.year}"
        return f"in {words.MONTHS[self.month - 1]} {f'of {year}' if year else self.year}"

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return moment.isoformat().startswith(self.iso)

    def condition(self, field: str) -> str:
        """The condition in Python on a time as the apps return it, as ``o["created_at"]``."""
        return f'{field}.startswith("{self.iso}")'

    def wrong(self, field: str) -> tuple[str, str, str]:
        """The mistake of comparing a month without its year, or no year at all."""
        if self.month:
            other = f'{field}[5:7] == "{self.month:02d}"'
            return self.condition(field), other, f"Only the month is compared; keep the year {self.year}."
        return self.condition(field), "True", f"The year is not compared; keep {self.year}."


def random_month(random: Random, moments: Sequence[datetime]) -> Period | None:
    """A month in which something happened, and in other years as well; None where there is none."""
    months = sorted({(moment.year, moment.month) for moment in moments})
    doubtful = [Period(y, m) for y, m in months if any(month == m and year != y for year, month in months)]
    return random.choice(doubtful) if doubtful else None


def random_year(random: Random, moments: Sequence[datetime]) -> Period | None:
    """A year in which something happened; None where all happened in one year."""
    years = sorted({moment.year for moment in moments})
    return Period(random.choice(years)) if len(years) > 1 else None
