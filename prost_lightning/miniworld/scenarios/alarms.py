"""Scenarios about the phone's alarms."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.expectations import updated
from prost_lightning.miniworld.scenarios.steps import collect_step, login_step, write_each


@template(1, "phone", expects=[updated("phone.Alarm", "label", "user.phone_number", "enabled", only=["enabled"])])
def phone_disable_alarms(world: Contents, person: Person, random: Random) -> Draft | None:
    """Switches off the alarms of a weekday that ring after an hour."""
    alarms = world.of(person).phone.alarms
    day, hour = random.choice(words.WEEKDAYS), f"{random.randint(5, 14):02d}:00"
    chosen = [alarm for alarm in alarms if alarm.enabled and day in alarm.repeat_days and alarm.time >= hour]
    if not 2 <= len(chosen) <= 4:
        return None
    condition = f'a["enabled"] and "{day}" in a["repeat_days"] and a["time"] >= "{hour}"'
    disable = write_each(
        "phone",
        "update_alarm",
        "alarms",
        "alarm",
        (condition, f"enabled set, {day} among repeat_days and a time from {hour} on"),
        [
            f"Disable the enabled alarms that repeat on {day} at {hour} or later.",
            f"Switch off every alarm that rings on {day} from {hour} on.",
        ],
        f"{len(chosen)} alarms disabled",
        alarm_id='alarm["alarm_id"]',
        enabled="False",
    )
    return Draft(
        [
            f"Disable all my phone alarms that ring on a {day} at {hour} or later.",
            f"Switch off every alarm of my phone that repeats on {day} and rings at or after {hour}.",
            f"I want no alarm on my phone to ring on any {day} from {hour} on; disable those that do.",
        ],
        {"day": day, "hour": hour},
        [
            login_step("phone"),
            collect_step("phone", "show_alarms", "alarms", len(alarms), "alarms of the phone"),
            disable,
        ],
        rows={"updated phone.Alarm": [(alarm.label, person.phone_number, False) for alarm in chosen]},
    )
