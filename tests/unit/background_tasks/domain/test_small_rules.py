"""Rules that fit on a line: overlap, backoff, gates, herds, spelling."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_tasks.domain.gates import CHAT_FLAG, Gate, unmet
from background_tasks.domain.herd import CHUNK, chunks
from background_tasks.domain.model import Continuous, Overlap, Retry
from background_tasks.domain.overlap import DueMove, on_due
from background_tasks.domain.retrying import HELD_S, backoff_ceiling, restart_delay, retry_delay
from background_tasks.domain.wording import rfc3339, spell

# running, queued -> move
OVERLAP = {
    Overlap.SKIP: {(0, 0): DueMove.START, (1, 0): DueMove.SKIP, (0, 1): DueMove.SKIP, (1, 1): DueMove.SKIP},
    Overlap.QUEUE: {(0, 0): DueMove.START, (1, 0): DueMove.QUEUE, (0, 1): DueMove.SKIP, (1, 1): DueMove.SKIP},
    Overlap.REPLACE: {(0, 0): DueMove.START, (1, 0): DueMove.REPLACE, (0, 1): DueMove.REPLACE, (1, 1): DueMove.REPLACE},
    Overlap.ALLOW: {(0, 0): DueMove.START, (1, 0): DueMove.START, (0, 1): DueMove.START, (1, 1): DueMove.START},
}


@pytest.mark.parametrize(("overlap", "running", "queued"), [*product(Overlap, (0, 1), (0, 1))])
def test_overlap(overlap: Overlap, running: int, queued: int) -> None:
    """Due again: alone it starts; else the policy says whether it waits, takes over, joins or is left out."""
    assert on_due(overlap, running=running, queued=queued) is OVERLAP[overlap][running, queued]


@given(
    st.builds(
        Retry,
        attempts=st.integers(1, 10_000),
        initial_backoff=st.floats(0, 1e6),
        factor=st.floats(1, 100),
        max_backoff=st.floats(0, 1e6),
    ),
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
)
def test_a_retry_waits_within_its_bounds(retry: Retry, attempt: int, draw: float) -> None:
    """Full jitter: anything from nothing up to the ceiling, which grows and has a cap; the last attempt has no next."""
    delay = retry_delay(retry, attempt, draw)

    assert (delay is None) == (attempt >= retry.attempts)
    assert delay is None or 0 <= delay <= backoff_ceiling(retry, attempt) <= retry.max_backoff


def test_the_ceiling_of_a_backoff_doubles_up_to_its_cap() -> None:
    """And does not overflow after very many failures."""
    retry = Retry(attempts=9, initial_backoff=1, factor=2, max_backoff=10)

    assert [backoff_ceiling(retry, failures) for failures in (1, 2, 3, 4, 5, 5000)] == [1, 2, 4, 8, 10, 10]


def test_a_continuous_task_backs_off_until_it_held() -> None:
    """Never sooner than its own delay, and without backoff after success or five good minutes."""
    cadence, retry = Continuous(restart_delay=3), Retry(initial_backoff=8, max_backoff=60)

    waits = [
        restart_delay(cadence, retry, failures=failures, held_for=held, draw=draw)
        for failures, held, draw in [(1, 0, 0.5), (1, 0, 0.1), (9, 0, 0.5), (9, HELD_S, 0.5), (0, 0, 0.99)]
    ]

    assert waits == [4, 3, 30, 3, 3]


SERVICE = Gate(reason="MissingService", name="redis", message="the pool has no service 'redis'; add it to the pool")
UNMET = {
    "all there": (frozenset({"redis"}), False, None, frozenset({"redis"}), {}, []),
    "a missing service": (frozenset({"redis", "kg_manager"}), False, None, frozenset({"kg_manager"}), {}, ["redis"]),
    "two, in their order": (frozenset({"redis", "kg_manager"}), False, None, frozenset(), {}, ["kg_manager", "redis"]),
    "chat is on by default": (frozenset(), True, None, frozenset(), {}, []),
    "chat is off": (frozenset(), True, None, frozenset(), {CHAT_FLAG: "False"}, [CHAT_FLAG]),
    "a flag is off by default": (frozenset(), False, "starwiki_enabled", frozenset(), {}, ["starwiki_enabled"]),
    "a flag is on": (frozenset(), False, "starwiki_enabled", frozenset(), {"starwiki_enabled": "true"}, []),
    "chat does not matter to others": (frozenset(), False, None, frozenset(), {CHAT_FLAG: False}, []),
}


@pytest.mark.parametrize(("needs", "chat", "flag", "services", "flags", "names"), UNMET.values(), ids=UNMET.keys())
def test_unmet_needs_are_named(
    *,
    needs: frozenset[str],
    chat: bool,
    flag: str | None,
    services: frozenset[str],
    flags: dict[str, object],
    names: list[str],
) -> None:
    """Services that are absent and flags that are off, each with its own reason."""
    gates = unmet(needs, chat, flag, services=services, flags=flags)

    assert [gate.name for gate in gates] == names
    assert all((gate.reason == "MissingService") == (gate.name in needs) for gate in gates)


def test_a_gate_says_what_to_do() -> None:
    """The whole of it, as status shows it."""
    assert unmet(frozenset({"redis"}), False, None, services=frozenset(), flags={}) == (SERVICE,)


@given(st.lists(st.integers()), st.integers(1, 7))
def test_a_herd_is_cut_and_nothing_is_lost(due: list[int], size: int) -> None:
    """Pieces of at most the size, in order."""
    pieces = list(chunks(due, size))

    assert [item for piece in pieces for item in piece] == due
    assert all(1 <= len(piece) <= size for piece in pieces)
    assert [len(piece) for piece in chunks(range(1200))] == [CHUNK, CHUNK, 200]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-3, "0s"),
        (0.0123, "12ms"),
        (1.5, "1s500ms"),
        (60, "1m"),
        (3661.4, "1h1m1s"),
        (86_400 * 30 + 3600.5, "30d1h"),
    ],
)
def test_a_duration_is_spelled_as_resources_spell_it(seconds: float, text: str) -> None:
    """Precise where it is short."""
    assert spell(seconds) == text


@pytest.mark.parametrize(
    ("instant", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1_700_000_000.25, "2023-11-14T22:13:20.250Z"), (1e18, "9999-12-31T23:59:59.999Z")],
)
def test_an_instant_is_written_in_utc(instant: float, text: str) -> None:
    """RFC 3339, with milliseconds where there are some."""
    assert rfc3339(instant) == text
