"""How often something may be said."""

from background_tasks.domain.rates import Bucket, admit


def test_a_burst_passes_then_the_rate_holds() -> None:
    """Three at once, then one each ten seconds; what was held back is counted until the next one passes."""
    bucket: Bucket | None = None
    said = []
    for now in (0, 0, 0, 0, 5, 9, 10, 11, 20):
        held = bucket.held_back if bucket else 0
        bucket, may = admit(bucket, now, per_second=0.1, burst=3)
        said.append((now, held) if may else None)

    assert said == [(0, 0), (0, 0), (0, 0), None, None, None, (10, 3), None, (20, 1)]


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    """Time that runs backwards fills no bucket."""
    bucket, _ = admit(None, 100, per_second=1, burst=1)

    assert admit(bucket, 50, per_second=1, burst=1)[1] is False
