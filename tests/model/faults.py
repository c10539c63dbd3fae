"""What befalls a simulated world, as a list that can be made from a seed, read aloud, and made shorter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

PAUSES_S = (1.0, 5.0, 9.0, 12.0, 13.0, 30.0)
"""Around the deadlines of the shipped timings (8 and 12 s), where it is dangerous."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that goes wrong, at a second of the world's time."""

    at: float
    kind: str
    seat: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        where = "" if self.kind in ("outage", "anew") else f" seat {self.seat}"
        how_long = f" for {self.seconds:g} s" if self.seconds else ""
        return f"{self.at:6.1f} s: {KINDS[self.kind]}{where}{how_long}"


KINDS = {
    "pause": "stop the process at",
    "sleep": "let the machine sleep at",
    "kill": "kill the process at",
    "leave": "ask the process to leave at",
    "cut": "cut the wires of",
    "deafen": "lose all answers to",
    "slow": "slow the wires (to 15 s) of",
    "outage": "the store refuses everybody",
    "anew": "the store restarts: a new realm",
    "step": "step the wall clock of",
    "cling": "work does not end when asked at",
}
WEIGHTS = {"pause": 4, "cut": 3, "slow": 3, "kill": 2, "leave": 2, "deafen": 2, "sleep": 1, "cling": 1, "step": 1}
WHOLE = {"outage": 1, "anew": 1}
"""Rarer: they befall everybody."""


def script(seed: int, *, seats: int, until: float, every: float = 6.0) -> list[Fault]:
    """Make a list of faults, one every so many seconds on average."""
    chance = Random(seed)
    kinds, weights = zip(*(WEIGHTS | WHOLE).items(), strict=True)
    faults, at = [], chance.uniform(2, 10)
    while at < until:
        kind = chance.choices(kinds, weights)[0]
        seconds = chance.choice(PAUSES_S) if kind not in ("anew", "step") else 0.0
        faults.append(Fault(round(at, 1), kind, chance.randrange(seats), seconds))
        at += chance.expovariate(1 / every)
    return faults


def shrink(faults: Sequence[Fault], fails: Callable[[Sequence[Fault]], bool], *, tries: int = 60) -> list[Fault]:
    """Leave faults out, in halves, quarters and so on, for as long as the world still fails (delta debugging)."""
    kept, size = list(faults), max(1, len(faults) // 2)
    while tries > 0:
        at, shorter = 0, False
        while at < len(kept) and tries > 0:
            candidate, tries = kept[:at] + kept[at + size :], tries - 1
            if fails(candidate):
                kept, shorter = candidate, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return kept
