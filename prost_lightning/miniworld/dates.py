"""When things happened in a generated world."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

NOW = datetime(2023, 5, 18, 12)
"""The moment at which all tasks play, a Thursday."""

_DAYS_OF_THIS_YEAR = 137
_TWIN_SHARE = 0.35


def moments(random: Random, count: int) -> list[datetime]:
    """Draws distinct moments of the past, newest first.

    Most lie in the present year; about a third are the same day of an earlier year as another one, so that a filter by
    month and day alone gives a wrong result.

    Args:
        random: Source of the choices.
        count: How many.
    """
    drawn: list[datetime] = []
    while len(drawn) < count:
        if drawn and random.random() < _TWIN_SHARE:
            moment = random.choice(drawn).replace(
                year=random.choice((2021, 2022)), hour=random.randrange(24), minute=random.randrange(60)
            )
        else:
            moment = NOW - timedelta(minutes=random.randint(60, _DAYS_OF_THIS_YEAR * 24 * 60))
        if moment not in drawn:
            drawn.append(moment)
    return sorted(drawn, reverse=True)


def day(moment: datetime) -> str:
    """A moment's day as the apps' filters take it: ``2023-05-18``."""
    return moment.strftime("%Y-%m-%d")
