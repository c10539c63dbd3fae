"""The pytest plugin: fixtures for tests of tasks. Every pytest run loads it, so it imports nothing until it is used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from background_tasks.testing.virtual_time import VirtualTime
    from background_tasks.testing.world import TaskWorld


@pytest.fixture
def virtual_time() -> Iterator["VirtualTime"]:
    """Give a clock, and a loop that runs by it: `virtual_time.run(coroutine)` takes no real time to wait.

    For plain (not async) test functions. What still runs at the end of the test is cancelled.
    """
    from background_tasks.testing.virtual_time import VirtualTime

    with VirtualTime() as clock:
        yield clock


@pytest.fixture
def task_world() -> Iterator["TaskWorld"]:
    """Give one worker on virtual time, with everything in memory: register coroutines, then `advance(3600)`.

    For plain (not async) test functions.
    """
    from background_tasks.testing.world import TaskWorld

    with TaskWorld() as world:
        yield world
