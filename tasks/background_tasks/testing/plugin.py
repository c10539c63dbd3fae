"""The pytest plugin: fixtures for tests of tasks. Every pytest run loads it, so it imports nothing until it is used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from background_tasks.testing.virtual_time import VirtualTime


@pytest.fixture
def virtual_time() -> Iterator["VirtualTime"]:
    """Give a clock, and a loop that runs by it: `virtual_time.run(coroutine)` takes no real time to wait.

    For plain (not async) test functions. What still runs at the end of the test is cancelled.
    """
    from background_tasks.testing.virtual_time import VirtualTime

    with VirtualTime() as clock:
        yield clock
