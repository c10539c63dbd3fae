"""A world of simulated processes that run the production's membership, keeper and roster over a store that is far away.

Time is simulated: every process has a clock with an error of rate and an offset of its own. What goes wrong is a list
of faults; two worlds with equal seeds and faults go the same way. `promises.py` watches.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from background_tasks.engine.lease_settings import LeaseSettings
from background_tasks.errors import BackgroundTaskError, Unavailable
from tests.model.faults import Fault
from tests.model.plants import ORIGINAL, Plant
from tests.model.process import Process
from tests.model.store import Request, Store, unavailable
from tests.model.worker import RUN_S, Worker

SHIPPED = LeaseSettings()
PATIENT = LeaseSettings(duration=24, renew_deadline=20, retry_period=3)
"""What the first seat is set up with, as in a rollout of new settings: its record must count, not the reader's."""
TIGHT = LeaseSettings(duration=12, renew_deadline=11, retry_period=5)
"""Allowed, and with less room between the deadlines than an answer may take."""
RATE_ERROR = 0.01
"""A hundred times what a bad quartz does."""
LATE_S = 15.0
"""The longest that a slow wire holds something back."""
RESTART_S = 1.5
BRISK_S = (0.0005, 0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What kind of world."""

    seed: int = 0
    seats: int = 3
    slots: int = 4
    plant: Plant = ORIGINAL
    fenced: bool = True
    settings: tuple[LeaseSettings, ...] = (PATIENT, SHIPPED, SHIPPED)
    """By seat; the last one for all further ones."""
    fire_s: float = 1.0
    """Seconds between the fire times of a slot."""
    run_s: float = RUN_S
    """The longest that a run takes before its effect."""
    noise: float = 0.01
    """The share of messages that are lost or late without any fault."""


class Broken(Exception):
    """A promise was broken; what happened until then is told."""


@dataclass(slots=True)
class _Weather:
    """Until when something is wrong, by seat."""

    cut: dict[int, float] = field(default_factory=dict)
    deafen: dict[int, float] = field(default_factory=dict)
    slow: dict[int, float] = field(default_factory=dict)
    cling: dict[int, float] = field(default_factory=dict)
    outage: float = 0.0


class World:
    """Processes, wires, a store, and time."""

    def __init__(self, setup: Setup, faults: Sequence[Fault] = ()) -> None:
        self.setup = setup
        self.now = 0.0
        self.chance = Random(setup.seed)
        self.weather = _Weather()
        self.store = Store(setup.slots, fenced=setup.fenced, changed=self._spread_hint)
        self.workers: dict[int, Worker] = {}
        self.story: list[str] = []
        self.after_step: list[Callable[[Worker], None]] = []
        """Who looks at a process after each of its steps."""
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._born = count(1)
        for fault in faults:
            self.at(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]
        for seat in range(setup.seats):
            self.at(self.chance.uniform(0, 2), lambda seat=seat: self.spawn(seat))  # type: ignore[misc]

    def tell(self, what: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{self.now:8.2f} s  {what}")

    def at(self, when: float, what: Callable[[], object]) -> None:
        """Have something happen at an instant of the world."""
        heapq.heappush(self._events, (when, next(self._order), what))

    # --- time ---

    def run(self, until: float) -> None:
        """Let time pass."""
        while True:
            worker, when = self._next()
            if self._events and self._events[0][0] <= when:
                when, worker = self._events[0][0], None
            if when > until:
                self.now = until
                return
            self.now = max(self.now, when)
            if worker is None:
                heapq.heappop(self._events)[2]()
            else:
                worker.process.step(self.now)
                self._look_after(worker)

    def _next(self) -> tuple[Worker | None, float]:
        found, soonest = None, float("inf")
        for worker in self.workers.values():
            when = worker.process.next_step(self.now)
            if when < soonest:
                found, soonest = worker, when
        return found, soonest

    def _look_after(self, worker: Worker) -> None:
        for look in self.after_step:
            look(worker)
        if worker.ended:
            self.remove(worker)

    # --- processes ---

    def spawn(self, seat: int) -> None:
        """Start a process at a seat, under a new member id."""
        if seat in self.workers:
            return
        name = f"{'ABCDEFGHIJ'[seat]}{next(self._born)}"
        process = Process(name, Random(self.chance.random()), RATE_ERROR, self.now)
        self.workers[seat] = Worker(self, seat, process)
        self.tell(f"{name} starts")

    def remove(self, worker: Worker) -> None:
        """A process is gone; another one comes a moment later."""
        if self.workers.get(worker.seat) is not worker:
            return
        del self.workers[worker.seat]
        worker.gone()
        self.at(self.now + RESTART_S, lambda: self.spawn(worker.seat))

    def settings_of(self, seat: int) -> LeaseSettings:
        """Return the settings of a seat."""
        return self.setup.settings[min(seat, len(self.setup.settings) - 1)]

    # --- faults ---

    def _strike(self, fault: Fault) -> None:
        self.tell(f"# {str(fault).partition(': ')[2]}")
        until = self.now + fault.seconds
        if fault.kind == "outage":
            self.weather.outage = until
        elif fault.kind == "anew":
            self.store.anew()
        elif fault.kind in ("cut", "deafen", "slow", "cling"):
            getattr(self.weather, fault.kind)[fault.seat] = until
        elif fault.seat in self.workers:
            self._strike_worker(fault, self.workers[fault.seat])

    def _strike_worker(self, fault: Fault, worker: Worker) -> None:
        if fault.kind == "kill":
            self.remove(worker)
        elif fault.kind == "leave":
            worker.leave()
        elif fault.kind == "step":
            worker.process.clock.step_wall(86_400 if int(fault.at) % 2 else -86_400)
        else:
            worker.process.pause(self.now, fault.seconds, asleep=fault.kind == "sleep")

    def heal(self) -> None:
        """End all that goes on."""
        self.tell("# all faults end")
        self.weather = _Weather()
        for worker in self.workers.values():
            worker.process.wake(self.now)

    # --- messages ---

    def carry(self, process: Process, request: Request) -> None:
        """Take a request to the store and its answer back, or not."""
        seat = next((seat for seat, worker in self.workers.items() if worker.process is process), -1)
        if self.weather.outage > self.now:
            # Half of the broken connections are noticed, the others are waited for in vain.
            if self.chance.random() < 0.5:
                process.tell(lambda: request.settle(Unavailable("the store is away")))
            return
        if self._lost(self.weather.cut, seat):
            return
        self.at(self.now + self._delay(seat), lambda: self._arrive(process, request, seat))

    def _arrive(self, process: Process, request: Request, seat: int) -> None:
        if self.weather.outage > self.now:
            return
        try:
            result: Any = request.what()
        except BackgroundTaskError as error:
            result = error
        if self._lost(self.weather.cut, seat) or self._lost(self.weather.deafen, seat):
            if self.chance.random() < 0.5:
                return
            result = unavailable(writes=request.writes, chance=self.chance.random())
        self.at(self.now + self._delay(seat), lambda: process.tell(lambda: request.settle(result)))

    def _lost(self, until: dict[int, float], seat: int) -> bool:
        return until.get(seat, 0.0) > self.now or self.chance.random() < self.setup.noise / 4

    def _delay(self, seat: int) -> float:
        if self.weather.slow.get(seat, 0.0) > self.now or self.chance.random() < self.setup.noise / 4:
            return self.chance.uniform(0, LATE_S)
        return self.chance.uniform(*BRISK_S)

    def _spread_hint(self) -> None:
        for seat, worker in self.workers.items():
            if not self._lost(self.weather.cut, seat):
                self.at(self.now + self._delay(seat), worker.hear_hint)

    def close(self) -> None:
        """End all processes."""
        for worker in [*self.workers.values()]:
            del self.workers[worker.seat]
            worker.gone()
