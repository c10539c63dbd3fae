"""What is promised of a simulated world, watched after every step of every process."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from background_tasks.domain.model import Fence
from background_tasks.engine.roster import CONTENT_DURATIONS, WAKE_GRACE_S
from background_tasks.engine.slot_events import Gained
from tests.model.faults import Fault, script, shrink
from tests.model.walk import LATE_S, RATE_ERROR, Broken, Setup, World
from tests.model.worker import Worker

LEASE_S = 24.0
"""The longest lease of the worlds."""
HELD_WITHIN_S = LATE_S + 2 * LEASE_S + 6
"""A late claim of a dead member may arrive last; it is waited out like any holder."""
FAIR_WITHIN_S = HELD_WITHIN_S + (CONTENT_DURATIONS + 1) * LEASE_S
QUIET_S = 30.0
NOTICED_S = 1.0 + 0.02
"""A machine that slept has timers that slept: a deadline is noticed at the next look, a third of a retry period on."""
TICK_S = 0.02
"""Steps of the loops that watch deadlines."""


@dataclass(slots=True)
class _Overlap:
    """Work of an old holder that goes on while a new one has the slot."""

    old: Worker
    slot: int
    fence: Fence
    since: float


@dataclass(slots=True)
class Promises:
    """Watches one world; raises `Broken`."""

    world: World
    epochs: dict[tuple[str, int], int] = field(default_factory=dict)
    longest_overlap: float = 0.0
    """Seconds in which work of an old holder went on beside a new one, not counting stopped processes."""
    claims: int = 0
    settled_in: float = 0.0
    """Seconds from the last fault until shares were fair, for good."""
    _overlaps: list[_Overlap] = field(default_factory=list)
    _seen: dict[str, object] = field(default_factory=dict)
    _moved_at: float = 0.0

    def look(self, worker: Worker) -> None:
        """Look at one process after its step."""
        if worker.process.errors:
            self._fail(f"{worker.process.name} failed: {worker.process.errors[0]}")
        if worker.told:
            events, worker.told = worker.told, []
            self._moved_at = self.world.now
            for event in events:
                if isinstance(event, Gained):
                    self._gained(worker, event.slot, event.fence)
        if self._overlaps:
            self._overlaps = [one for one in self._overlaps if self._goes_on(one)]
        holds = worker.membership._keeper.holds
        if self._seen.get(worker.process.name) is not holds:
            self._seen[worker.process.name] = holds
            for slot in holds.fences:
                self._alone(worker, slot)

    def _gained(self, worker: Worker, slot: int, fence: Fence) -> None:
        self.claims += 1
        last = self.epochs.get((fence.realm, slot), -1)
        if fence.epoch <= last:
            self._fail(f"slot {slot} was claimed at epoch {fence.epoch} after {last}: no fence can tell them apart")
        self.epochs[fence.realm, slot] = fence.epoch
        self._overlaps += [
            _Overlap(other, slot, other.works[slot], self.world.now)
            for other in self.world.workers.values()
            if other is not worker and slot in other.works
        ]

    def _alone(self, worker: Worker, slot: int) -> None:
        """No other process would begin something for this slot now, by its own clock."""
        if worker.fence(slot) is None:
            return
        for other in self.world.workers.values():
            if other is not worker and other.fence(slot) is not None:
                self._fail(f"{other.process.name} and {worker.process.name} both believe that slot {slot} is theirs")

    def _goes_on(self, one: _Overlap) -> bool:
        process, now = one.old.process, self.world.now
        goes_on = process.alive and one.old.works.get(one.slot) == one.fence
        if now >= process.paused_until:
            seconds = now - max(one.since, process.paused_until if process.was_stopped else one.since)
            self.longest_overlap = max(self.longest_overlap, seconds)
            lease = self.world.settings_of(one.old.seat).duration
            # The bound of docs/guarantees.md; who was stopped wakes into its work and has a moment to end it.
            allowed = lease * 2 * RATE_ERROR + TICK_S
            allowed += (NOTICED_S + WAKE_GRACE_S) if process.was_stopped else 0.0
            if seconds > allowed:
                self._fail(f"{process.name} works for slot {one.slot} {seconds:.2f} s beside its new holder")
        return goes_on

    # --- after the last fault ---

    def settle(self) -> None:
        """Let all faults end: slots are held again, shares come to be fair, and nothing moves any more."""
        world = self.world
        world.heal()
        ended = world.now
        while not self._all_held():
            if world.now > ended + HELD_WITHIN_S:
                self._fail(f"slots {self._unheld()} are not held {HELD_WITHIN_S:g} s after the last fault")
            world.run(world.now + 1)
        self.settled_in = world.now - ended
        while world.now < max(self._moved_at, ended + self.settled_in) + QUIET_S:
            if world.now > ended + FAIR_WITHIN_S:
                self._fail(f"shares are {self._shares()}, and move, {FAIR_WITHIN_S:g} s after the last fault")
            world.run(world.now + 1)
            if not self._is_fair():
                self.settled_in = world.now - ended

    def _unheld(self) -> list[int]:
        workers = self.world.workers.values()
        return [slot for slot in range(self.world.setup.slots) if not any(one.fence(slot) for one in workers)]

    def _all_held(self) -> bool:
        return not self._unheld()

    def _shares(self) -> list[int]:
        return sorted(len(one.membership._keeper.holds.fences) for one in self.world.workers.values())

    def _is_fair(self) -> bool:
        shares = self._shares()
        whole = sum(shares) == self.world.setup.slots and len(shares) == self.world.setup.seats
        return self._all_held() and whole and shares[-1] - shares[0] <= 1

    def _fail(self, what: str) -> None:
        self.world.tell(f"BROKEN: {what}")
        raise Broken(what)


@dataclass(frozen=True, slots=True)
class Walked:
    """How a walk ended."""

    setup: Setup
    faults: Sequence[Fault]
    broken: str
    story: Sequence[str]
    claims: int = 0
    due: int = 0
    """Fire times that were due, of all slots."""
    doubled: int = 0
    lost: int = 0
    """Fire times that were passed over, or not served half a minute after they were due in a settled world."""
    refused: int = 0
    """How often a fence was too old."""
    longest_overlap: float = 0.0
    settled_in: float = 0.0

    def __str__(self) -> str:
        faults = "\n".join(map(str, self.faults)) or "none"
        return f"{self.broken}\nseed {self.setup.seed}, faults:\n{faults}\nits end:\n" + "\n".join(self.story[-25:])


def walk(setup: Setup, faults: Sequence[Fault], until: float) -> Walked:
    """Go through one world, let it settle, and say how it ended."""
    world = World(setup, faults)
    promises, broken = Promises(world), ""
    world.after_step.append(promises.look)
    try:
        world.run(until)
        promises.settle()
    except Broken as fault:
        broken = str(fault)
    effects = world.store.effects
    due = int(max(0.0, world.now - QUIET_S) / setup.fire_s)
    doubled = sum(one.doubled for one in effects)
    lost = sum(one.lost + max(0, due - len(one.times)) for one in effects)
    if not broken and setup.fenced and (doubled or lost):
        broken = f"{doubled} effects doubled, {lost} lost"
    world.close()
    return Walked(
        setup,
        tuple(faults),
        broken,
        tuple(world.story),
        claims=promises.claims,
        due=due * setup.slots,
        doubled=doubled,
        lost=lost,
        refused=sum(one.refused for one in effects),
        longest_overlap=promises.longest_overlap,
        settled_in=promises.settled_in,
    )


def random_walk(setup: Setup, until: float) -> Walked:
    """Go through the world that the seed makes."""
    return walk(setup, script(setup.seed, seats=setup.seats, until=until), until)


def shortest(walked: Walked, until: float) -> Walked:
    """Return a walk that breaks as well, with faults left out that it does not need."""
    faults = shrink(walked.faults, lambda some: bool(walk(walked.setup, some, until).broken))
    return walk(walked.setup, faults, until)
