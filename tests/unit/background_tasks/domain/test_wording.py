"""Schedules as a column has room for them."""

import pytest

from background_tasks.domain.model import Cadence, Continuous, Cron, Every, Interval, OnStart
from background_tasks.domain.wording import cadence_text


@pytest.mark.parametrize(
    ("cadence", "text"),
    [
        (Interval(seconds=90), "interval 1m30s"),
        (Every(seconds=300), "every 5m"),
        (Cron(expression="*/15 * * * *", zone="UTC"), "*/15 * * * *"),
        (Cron(expression="0 9 * * 1-5", zone="Europe/Berlin"), "0 9 * * 1-5 Europe/Berlin"),
        (Continuous(restart_delay=10), "continuous"),
        (OnStart(cooldown=600), "onStart"),
    ],
)
def test_a_cadence_is_told_in_the_words_of_its_field(cadence: Cadence, text: str) -> None:
    """Who reads the column finds the field; UTC goes without saying."""
    assert cadence_text(cadence) == text
