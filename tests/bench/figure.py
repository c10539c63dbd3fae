"""One measured number beside the number that is promised."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of DESIGN §16 as it was measured here."""

    figure: str
    value: float
    unit: str
    bar: float
    """What is promised: the value is at most this."""
    ok: bool

    def as_line(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self))


def at_most(figure: str, value: float, unit: str, bar: float) -> Figure:
    """Judge a value that must not be above the bar."""
    return Figure(figure, round(value, 3), unit, bar, value <= bar)


def p99(values: list[float]) -> float:
    """Return the nearest-rank 99th percentile."""
    return sorted(values)[max(0, -(-len(values) * 99 // 100) - 1)]
