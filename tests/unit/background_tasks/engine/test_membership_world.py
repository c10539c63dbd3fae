"""Three members in a hostile world: pauses, crashes, lost and late messages, a virtual clock, a seed per world.

Seeds 60 and 162 find two subtle faults that were put in on purpose: a renewal whose late answer covers the gap before
it, and leases read before the slot table. 400 seeds found nothing else.
"""

import random

import pytest

from background_tasks.domain.model import MemberId
from background_tasks.engine.lease_settings import LeaseSettings
from background_tasks.engine.roster import Roster
from background_tasks.engine.slot_events import Gained, SlotEvent
from background_tasks.ports import MemberRecord, SlotRow, TableView

SETTINGS = LeaseSettings(duration=12, renew_deadline=8, retry_period=3)
FREE = SlotRow(holder=None, epoch=0)


@pytest.mark.parametrize("seed", [*range(24), 60, 162])
def test_in_a_hostile_world_two_members_never_hold_one_slot(seed: int) -> None:
    """Pauses, lost requests, lost and slow answers: epochs rise with every claim and fences never overlap."""
    world = World(seed)
    world.run(until=300)
    assert world.overlaps == []
    assert all(epochs == sorted(set(epochs)) for epochs in world.epochs.values())
    assert len(world.epochs) == World.SLOTS


class World:
    """Three members over one store, under a virtual clock that a seed drives; every message may be late or lost."""

    SLOTS = 4

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.queue: list[tuple[float, float, MemberId | None, object]] = []
        self.rows = [FREE] * self.SLOTS
        self.leases: dict[MemberId, MemberRecord] = {}
        self.members: dict[MemberId, Roster] = {}
        self.paused: dict[MemberId, float] = {}
        self.overlaps: list[str] = []
        self.epochs: dict[int, list[int]] = {}
        self.born = 0
        for _ in range(3):
            self.join()

    def join(self) -> None:
        """A new process joins; identities are never used twice."""
        self.born += 1
        me = MemberId(f"m{self.born}")
        self.members[me] = Roster(me, SETTINGS, self.SLOTS)
        for flow in (self.renewing(me), self.looking(me), self.watching(me), self.pausing(me)):
            self.after(0, me, flow)

    def after(self, seconds: float, me: MemberId | None, flow: object) -> None:
        """Let a flow go on later; None: at the store, which no pause of a member stops."""
        self.queue.append((self.now + seconds, self.chance.random(), me, flow))

    def run(self, until: float) -> None:
        """Take one step after another, and look for two holders after each."""
        while self.now < until:
            step = min(self.queue, key=lambda entry: entry[:2])
            self.queue.remove(step)
            self.now, _, me, flow = step
            if me is not None and me not in self.members:
                continue
            if me is not None and self.paused.get(me, 0) > self.now:
                self.queue.append((self.paused[me], self.chance.random(), me, flow))
                continue
            self.go_on(me, flow)
            self.check()

    def go_on(self, me: MemberId | None, flow: object) -> None:
        """Run a flow up to its next pause; it says how long that is."""
        if callable(flow):
            flow()
            return
        seconds = next(flow, None)  # type: ignore[call-overload]
        if seconds is not None:
            self.after(seconds, me, flow)

    def check(self) -> None:
        """No instant may see two members with a fence for one slot, by the clock that each would look at now."""
        for slot in range(self.SLOTS):
            holders = [me for me, member in self.members.items() if slot in member.fences()
                       and self.now - member.confirmed_at < SETTINGS.renew_deadline]  # fmt: skip
            if len(holders) > 1:
                self.overlaps.append(f"{self.now:.2f}: slot {slot} is held by {holders}")

    def ask(self, me: MemberId, effect, answer):  # type: ignore[no-untyped-def]
        """Send one request: it may be lost or late, and so may its answer. Yields until answered or given up."""
        got: list[object] = []
        rough = self.chance.random() < 0.15
        if self.chance.random() < 0.01:
            self.pause(me)

        def arrive() -> None:
            result = effect()
            if not rough or self.chance.random() < 0.5:
                self.after(self.delay(rough), me, lambda: got.append(result))

        if not rough or self.chance.random() < 0.7:
            self.after(self.delay(rough), None, arrive)
        give_up = self.now + SETTINGS.retry_period
        while not got and self.now < give_up:
            yield 0.05
        answer.extend(got)

    def delay(self, rough: bool) -> float:
        """Seconds on the wire."""
        return self.chance.uniform(0, 15) if rough and self.chance.random() < 0.5 else self.chance.uniform(0, 0.1)

    def renewing(self, me: MemberId):  # type: ignore[no-untyped-def]
        """Renew for ever."""
        while True:
            sent_at, answer = self.now, []  # type: ignore[var-annotated]
            yield from self.ask(me, lambda: self.write_lease(me), answer)
            if answer:
                self.tell(me, self.members[me].renewed(sent_at, self.now))
            yield self.chance.uniform(2, 3)

    def write_lease(self, me: MemberId) -> bool:
        """What the store does with a renewal."""
        self.leases[me] = MemberRecord(member=me, version=str(self.chance.random()), duration=SETTINGS.duration)
        return True

    def looking(self, me: MemberId):  # type: ignore[no-untyped-def]
        """Read the table, then the leases, then swap, for ever."""
        member = self.members[me]
        while True:
            asked_at, views, records = self.now, [], []  # type: ignore[var-annotated]
            yield from self.ask(me, lambda: TableView(realm="r", rows=tuple(self.rows)), views)
            yield from self.ask(me, lambda: dict(self.leases), records)
            if views and records:
                self.tell(me, member.observed(views[0], records[0], asked_at=asked_at, now=self.now))
                self.tell(me, member.give_back())
                for swap in member.swaps(self.now):
                    answer: list[bool] = []
                    yield from self.ask(me, lambda swap=swap: self.swap(swap.slot, swap.expected, swap.new), answer)
                    if not answer:
                        break
                    self.tell(me, member.swapped(swap, answer[0], self.now))
            yield self.chance.uniform(0.1, 1)

    def swap(self, slot: int, expected: SlotRow, new: SlotRow) -> bool:
        """What the store does with a compare-and-set."""
        if self.rows[slot] != expected:
            return False
        self.rows[slot] = new
        return True

    def watching(self, me: MemberId):  # type: ignore[no-untyped-def]
        """Watch the deadlines; who is doomed dies, and another process comes."""
        member = self.members[me]
        while True:
            self.tell(me, member.overdue(self.now))
            if member.doomed(self.now) or self.chance.random() < 0.001:
                del self.members[me]
                self.join()
                return
            yield 0.5

    def pausing(self, me: MemberId):  # type: ignore[no-untyped-def]
        """Stop the process now and then, often for longer than its lease."""
        while True:
            yield self.chance.uniform(5, 60)
            self.pause(me)

    def pause(self, me: MemberId) -> None:
        """Stop the process; its requests under way go on."""
        self.paused[me] = self.now + self.chance.choice([1, 5, 9, 12, 13, 30])

    def tell(self, me: MemberId, events: list[SlotEvent]) -> None:
        """The worker stops its runs a little later, sometimes not at all; claims are noted."""
        for event in events:
            if isinstance(event, Gained):
                self.epochs.setdefault(event.slot, []).append(event.fence.epoch)
            elif self.chance.random() < 0.9:
                slot, fence = event.slot, event.fence
                self.after(self.chance.uniform(0, 3), me, lambda s=slot, f=fence: self.members[me].stopped(s, f))
