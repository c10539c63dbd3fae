"""A world small enough to walk through all of it: three members, two slots, whole seconds, a few faults.

Decisions are the production's: each member is an `engine.roster.Roster`. What the keeper's loops do between decisions
(renew and read the table; read the leases and decide; try each compare-and-set) is one step each, and the steps of
the members interleave freely within a second. A fault is spent on a message that is lost or late in either direction,
on a member that is stopped for as long as it likes, dies, or leaves. Answers and late requests arrive whenever.

Not here: rates of clocks, jitter, asyncio. `walk.py` has them, and the production's keeper and membership as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial

from background_tasks.domain.model import Fence, MemberId
from background_tasks.domain.slots import by_preference
from background_tasks.engine.lease_settings import LeaseSettings
from background_tasks.engine.roster import Roster, Swap
from background_tasks.engine.slot_events import Gained, SlotEvent
from background_tasks.ports import MemberRecord, SlotRow, TableView
from tests.model.plants import ORIGINAL, Plant

SLOTS = 2
QUICK = LeaseSettings(duration=3, renew_deadline=2, retry_period=0.75)
SLOW = LeaseSettings(duration=5, renew_deadline=4, retry_period=1)
CLOSE = LeaseSettings(duration=4, renew_deadline=3, retry_period=1)
"""With less room between the deadlines than an answer may take. (All are whole: members look once a second.)"""
CLOCKS = (0, 50, -50)
"""What the members' clocks show at second 0: nobody's clock means anything to another."""
NAMES = "Ada Ben Cleo Dora Emil Fay Gus Hana Ivo Jan Kim Lea Max Nora Otto Pia Quin Rita Sam Tia Uli Vera Will Yara Zoe"
ALIKE = [name for name in map(MemberId, NAMES.split()) if by_preference(name, range(SLOTS)) == [0, 1]]
"""Members that reach for slot 0 first: all meet there, and any two of them may change places without a difference."""

RENEW, DECIDE, SWAP, DONE = range(4)
"""Where a member stands within a second."""
NOBODY = -1
FINE, LOST, REQUEST_LATE, ANSWER_LATE = range(4)
_FATES = ("", " (the request is lost)", " (the request is late)", " (the answer is late)")
TICK = "a second passes"
GRACE = 2
"""Seconds that work may go on after a stop of the process: noticed within one, told to end within another."""


@dataclass(slots=True, kw_only=True)
class Actor:
    """One member: its decisions, and its work."""

    roster: Roster
    settings: LeaseSettings
    clock: int
    step: int = RENEW
    asked_at: float = 0.0
    view: TableView | None = None
    records: Mapping[MemberId, MemberRecord] = field(default_factory=dict)
    """What was read of the table and, where a plant reads them first, of the leases."""
    swaps: tuple[Swap, ...] = ()
    answers: tuple[tuple[Swap | None, float, int], ...] = ()
    """On their way: (a swap or None for a renewal, sent at, done)."""
    work: dict[int, Fence] = field(default_factory=dict)
    asked: frozenset[int] = frozenset()
    """Slots whose work was told to stop and goes on for a while."""
    clings: bool = False
    """That work goes on for this second."""
    cut: bool = False
    """What it sends does not arrive."""
    paused: bool = False
    woke_at: int | None = None

    def copy(self) -> "Actor":
        """Return one that can go another way."""
        twin, roster = copy(self), copy(self.roster)
        roster._seen, roster._free_since = dict(roster._seen), dict(roster._free_since)
        roster._tenures = {slot: copy(tenure) for slot, tenure in roster._tenures.items()}
        twin.roster, twin.work = roster, dict(self.work)
        return twin

    def may_act(self, slot: int, now: float) -> bool:
        """Say what `Membership.fence` would: the slot is surely ours, by our clock."""
        return now - self.roster.confirmed_at < self.settings.renew_deadline and slot in self.roster.fences()


@dataclass(slots=True, kw_only=True)
class World:
    """Everything at one moment. `moves` names what may come next; each returns a new world."""

    plant: Plant
    actors: tuple[Actor, ...]
    now: int = 0
    rows: tuple[SlotRow, ...] = (SlotRow(holder=None, epoch=0),) * SLOTS
    leases: Mapping[MemberId, MemberRecord] = field(default_factory=dict)
    renewals: int = 0
    late: tuple[tuple[MemberRecord | None, Swap | None], ...] = ()
    """Requests whose sender gave up; they may still arrive."""
    newest: tuple[int, ...] = (0,) * SLOTS
    """The newest fence that the store of effects has seen, by slot."""
    faults: int = 0
    seconds: int = 0
    """How many of each are left to spend."""
    any_order: bool = False
    """Members take their turns within a second in any order; else in the order of their seats."""
    turn: int = NOBODY
    """Who stands in the middle of its second."""
    born: int = 0
    broken: str = ""

    # --- what may happen ---

    def moves(self) -> "Iterator[tuple[str, World]]":
        """Yield every way in which this world may go on, in words."""
        return ((what, world) for what, world in self._all_moves() if world.faults >= 0)

    def _all_moves(self) -> "Iterator[tuple[str, World]]":
        for at, actor in enumerate(self.actors):
            if not actor.paused and self.may_go(at):
                yield from self._steps(at, actor)
            # What befalls a member matters no sooner than when it would act.
            if not self.overtakes(at):
                yield from self._turns(at, actor)
            elif actor.paused and self.turn != NOBODY:
                yield f"{actor.roster.me} goes on", self._go(at, World.resume)
        for at, (record, swap) in enumerate(self.late):
            what = f"late renewal of {record.member}" if record else _words(swap)
            yield f"the {what} arrives", self._arrive(at)
        if self.seconds and all(actor.paused or actor.step == DONE for actor in self.actors):
            yield TICK, self.tick()

    def may_go(self, at: int) -> bool:
        """Say whether it may be this member's turn; to overtake another one costs a fault."""
        return self.faults > 0 or not self.overtakes(at)

    def overtakes(self, at: int) -> bool:
        """Say whether another one is in the middle of its second, or comes before this one."""
        if self.any_order or self.turn != NOBODY:
            return self.turn not in (NOBODY, at)
        return any(not actor.paused and actor.step != DONE for actor in self.actors[:at])

    def _steps(self, at: int, actor: Actor) -> "Iterator[tuple[str, World]]":
        me, fates = actor.roster.me, (LOST,) if actor.cut else range(4 if self.faults else 1)
        if actor.step == RENEW and actor.asked and not actor.clings:
            yield f"{me} stops the work of slot {_list(actor.asked)}", self._turn(at, World.stop_work)
            if self.faults:
                yield f"{me} works on for slot {_list(actor.asked)}", self._turn(at, World.cling)
        elif actor.step == RENEW:
            for fate in fates:
                yield f"{me} renews{_FATES[fate]}, reads the table", self._turn(at, partial(World.renew, fate=fate))
        elif actor.step == DECIDE:
            if not actor.cut:
                yield f"{me} reads the leases", self._turn(at, World.decide)
            if actor.cut or self.faults:
                yield f"{me} cannot read", self._turn(at, World.skip)
        elif actor.step == SWAP:
            for fate in fates:
                yield f"{me} {_words(actor.swaps[0])}{_FATES[fate]}", self._turn(at, partial(World.swap, fate=fate))

    def _turns(self, at: int, actor: Actor) -> "Iterator[tuple[str, World]]":
        me = actor.roster.me
        if actor.paused:
            yield f"{me} goes on", self._go(at, World.resume)
            return
        if actor.cut:
            yield f"{me} is connected again", self._go(at, World.connect)
        if actor.answers:
            yield f"{me} reads a late answer", self._go(at, World.hear)
        if self.faults and actor.step != DONE:
            yield from self._strikes(at, actor)

    def _strikes(self, at: int, actor: Actor) -> "Iterator[tuple[str, World]]":
        me = actor.roster.me
        yield f"{me} is stopped", self._go(at, World.pause)
        if not actor.cut:
            yield f"{me} is cut off", self._go(at, World.cut_off)
        if actor.step == RENEW:
            yield f"{me} dies", self._go(at, World.die)
            if not actor.roster.leaving:
                yield f"{me} leaves", self._go(at, World.leave)

    def _turn(self, at: int, act: "Callable[[World, Actor], None]") -> "World":
        """Take one step of a member's second."""
        world = self._go(at, act)
        world.faults -= self.overtakes(at)
        world.turn = at if world.actors[at].step in (DECIDE, SWAP) else NOBODY
        return world

    def _go(self, at: int, act: "Callable[[World, Actor], None]") -> "World":
        world, actor = copy(self), self.actors[at].copy()
        world.actors = (*self.actors[:at], actor, *self.actors[at + 1 :])
        act(world, actor)
        world.check()
        return world

    # --- what a member does ---

    def time(self, actor: Actor) -> int:
        """Return what a member's clock shows."""
        return self.now + actor.clock

    def renew(self, actor: Actor, fate: int) -> None:
        """Renew the lease and read the table."""
        sent_at = self.time(actor)
        # The keeper has one look at a time: what was not answered by now was given up.
        actor.answers = tuple(answer for answer in actor.answers if answer[0] is None)
        self.renewals += 1
        record = MemberRecord(
            member=actor.roster.me,
            version=f"{self.renewals}@{sent_at}",
            duration=actor.settings.duration,
            leaving=actor.roster.leaving,
        )
        self.faults -= fate > 0 and not actor.cut
        if fate in (FINE, ANSWER_LATE):
            self.leases = {**self.leases, record.member: record}
        if fate == FINE:
            self.tell(actor, actor.roster.renewed(sent_at, sent_at))
        elif fate == ANSWER_LATE:
            actor.answers = (*actor.answers, (None, sent_at, 1))
        elif fate == REQUEST_LATE:
            self.late = (*self.late, (record, None))
        actor.asked_at, actor.step = sent_at, DECIDE
        actor.view = TableView(realm="r", rows=self.rows)
        actor.records = self.leases

    def decide(self, actor: Actor) -> None:
        """Read the leases, think, and line up the compare-and-sets. The table was read before: `observed` says why."""
        assert actor.view is not None
        view, records, now = actor.view, self.leases, self.time(actor)
        if self.plant.leases_first:
            view, records = TableView(realm="r", rows=self.rows), actor.records
        self.tell(actor, actor.roster.observed(view, records, asked_at=actor.asked_at, now=now))
        self.tell(actor, actor.roster.give_back())
        self.line_up(actor, tuple(actor.roster.swaps(now)))

    def skip(self, actor: Actor) -> None:
        """The leases cannot be read: nothing is decided."""
        self.faults -= not actor.cut
        self.line_up(actor, ())

    def line_up(self, actor: Actor, swaps: tuple[Swap, ...]) -> None:
        """Have these compare-and-sets before us."""
        actor.swaps, actor.step = swaps, SWAP if swaps else DONE
        actor.view, actor.records = None, {}

    def swap(self, actor: Actor, fate: int) -> None:
        """Try the first one."""
        swap, *rest = actor.swaps
        done = fate in (FINE, ANSWER_LATE) and self.set_row(swap)
        self.faults -= fate > 0 and not actor.cut
        self.line_up(actor, tuple(rest))
        if fate == FINE:
            self.tell(actor, actor.roster.swapped(swap, done, self.time(actor)))
        elif fate == ANSWER_LATE:
            actor.answers = (*actor.answers, (swap, 0.0, done))
        elif fate == REQUEST_LATE:
            self.late = (*self.late, (None, swap))

    def hear(self, actor: Actor) -> None:
        """Read an answer that was long on its way."""
        (swap, sent_at, done), *rest = actor.answers
        actor.answers, now = tuple(rest), self.time(actor)
        if swap is None:
            self.tell(actor, actor.roster.renewed(sent_at, now))
        else:
            self.tell(actor, actor.roster.swapped(swap, bool(done), now))

    def tell(self, actor: Actor, events: list[SlotEvent]) -> None:
        """Start work for what was gained, and ask the work of what was lost or is to be given back to stop."""
        for event in events:
            if not isinstance(event, Gained):
                actor.asked |= {event.slot} & actor.work.keys()
                continue
            if event.fence.epoch <= self.newest[event.slot]:
                self.broken = (
                    f"slot {event.slot} was claimed twice at epoch {event.fence.epoch}: no fence can tell them apart"
                )
            newest = list(self.newest)
            newest[event.slot] = event.fence.epoch
            self.newest = tuple(newest)
            actor.work[event.slot] = event.fence
            actor.asked -= {event.slot}

    def stop_work(self, actor: Actor) -> None:
        """The work that was asked to stop has ended."""
        for slot in sorted(actor.asked):
            actor.roster.stopped(slot, actor.work.pop(slot))
        actor.asked = frozenset()

    def cling(self, actor: Actor) -> None:
        """It goes on for this second."""
        self.faults -= 1
        actor.clings = True

    # --- what befalls it ---

    def pause(self, actor: Actor) -> None:
        """Stop the process for as long as it pleases."""
        self.faults -= 1
        actor.paused = True
        self.give_up_turn(actor)

    def give_up_turn(self, actor: Actor) -> None:
        """Whoever is next need not wait for this one."""
        if self.turn != NOBODY and self.actors[self.turn] is actor:
            self.turn = NOBODY

    def resume(self, actor: Actor) -> None:
        """Let it go on where it was."""
        actor.paused, actor.woke_at = False, self.now

    def cut_off(self, actor: Actor) -> None:
        """Lose all that it sends from now on."""
        self.faults -= 1
        actor.cut = True

    def connect(self, actor: Actor) -> None:
        """Let it reach the store again."""
        actor.cut = False

    def die(self, actor: Actor) -> None:
        """Kill it; what it sent is still on its way. Another one takes its seat."""
        self.faults -= 1
        self.replace(actor)

    def replace(self, actor: Actor) -> None:
        """Seat a new member."""
        fresh = newcomer(self.plant, self.born, actor.settings, actor.clock)
        self.born += 1
        for name in Actor.__dataclass_fields__:
            setattr(actor, name, getattr(fresh, name))

    def leave(self, actor: Actor) -> None:
        """Ask it to give everything back."""
        self.faults -= 1
        actor.roster.leaving = True
        self.tell(actor, actor.roster.give_back())

    def tick(self) -> "World":
        """Let a second pass for everybody. Whoever runs looks at its deadlines."""
        world = copy(self)
        world.now, world.seconds = self.now + 1, self.seconds - 1
        world.actors = tuple(actor if actor.paused else actor.copy() for actor in self.actors)
        for actor in world.actors:
            if not actor.paused:
                actor.step, actor.clings = RENEW, False
                world.tell(actor, actor.roster.overdue(world.time(actor)))
                if actor.roster.doomed(world.time(actor)):
                    world.replace(actor)
        world.check()
        return world

    # --- the store ---

    def set_row(self, swap: Swap) -> bool:
        """Replace a row if it is as expected."""
        if self.rows[swap.slot] != swap.expected:
            return False
        self.rows = (*self.rows[: swap.slot], swap.new, *self.rows[swap.slot + 1 :])
        return True

    def _arrive(self, at: int) -> "World":
        world, (record, swap) = copy(self), self.late[at]
        world.late = self.late[:at] + self.late[at + 1 :]
        if swap is not None:
            world.set_row(swap)
        elif record is not None:
            # A renewal is a write of the whole record: what arrives last stands.
            world.leases = {**self.leases, record.member: record}
        return world

    # --- what must hold ---

    def check(self) -> None:
        """Look for two that may act for one slot, and for work that goes on where another may act."""
        for slot in range(SLOTS if not self.broken else 0):
            may = [actor for actor in self.actors if actor.may_act(slot, self.time(actor))]
            if len(may) > 1:
                names = " and ".join(actor.roster.me for actor in may)
                self.broken = f"{names} both believe that slot {slot} is theirs"
                return
            working = [actor for actor in self.actors if slot in actor.work]
            if len(working) > 1:
                self._check_work(slot, working)

    def _check_work(self, slot: int, working: list[Actor]) -> None:
        newest = max(actor.work[slot].epoch for actor in working)
        for actor in working:
            since = float("inf") if actor.woke_at is None else self.now - actor.woke_at
            # A process that was stopped wakes into its work: it has its grace, and its store compares fences.
            if actor.work[slot].epoch < newest and not actor.paused and since > GRACE:
                self.broken = f"{actor.roster.me} still works for slot {slot}, which another has by now"

    def all_held(self) -> bool:
        """Say whether somebody may act for every slot."""
        return all(any(actor.may_act(slot, self.time(actor)) for actor in self.actors) for slot in range(SLOTS))

    def is_fair(self) -> bool:
        """Say whether the slots are held and spread as evenly as they can be over those who stay."""
        counts = [len(actor.roster.fences()) for actor in self.actors if not actor.roster.leaving]
        return self.all_held() and sum(counts) == SLOTS and max(counts) - min(counts) <= 1

    def healed(self) -> "World":
        """Return the world after the last fault: who was stopped goes on, and what was late has arrived."""
        world = replace(self, faults=0)
        while world.late:
            world = world._arrive(0)
        for at in range(len(world.actors)):
            if world.actors[at].paused:
                world = world._go(at, World.resume)
            if world.actors[at].cut:
                world = world._go(at, World.connect)
            while world.actors[at].answers:
                world = world._go(at, World.hear)
        return world


def newcomer(plant: Plant, born: int, settings: LeaseSettings, clock: int) -> Actor:
    """Return a process that has just started."""
    return Actor(roster=plant.roster(ALIKE[born], settings, SLOTS), settings=settings, clock=clock)


def strangers(
    plant: Plant = ORIGINAL, *, faults: int, seconds: int, setups: Sequence[LeaseSettings] = (QUICK,) * 3
) -> World:
    """Return a world of members that start together, each set up as told."""
    actors = [newcomer(plant, born, setup, CLOCKS[born]) for born, setup in enumerate(setups)]
    return World(plant=plant, actors=tuple(actors), faults=faults, seconds=seconds, born=len(actors))


def settled(
    plant: Plant = ORIGINAL, *, faults: int, seconds: int, setups: Sequence[LeaseSettings] = (QUICK,) * 3
) -> World:
    """Return a world in which each slot has had its holder for a while; a third member has nothing to do."""
    world = strangers(plant, faults=0, seconds=0, setups=setups)
    for _ in range(4):
        world = round_of(world)
    return replace(world, faults=faults, seconds=seconds)


def waiting(plant: Plant = ORIGINAL, *, faults: int, seconds: int, setups: Sequence[LeaseSettings]) -> World:
    """Return a settled world in which the first member's renewal has arrived, and its answer is on the way."""
    world = settled(plant, faults=faults + 1, seconds=seconds, setups=setups)
    return next(after for what, after in world.moves() if "renews (the answer is late)" in what)


def round_of(world: World, story: list[str] | None = None) -> World:
    """Return the world after a second without faults, in which everybody does all it has to do."""
    for at in range(len(world.actors)):
        while not world.actors[at].paused and world.actors[at].step != DONE:
            what, world = next(replace(world, faults=0, turn=NOBODY)._steps(at, world.actors[at]))
            if story is not None:
                story.append(what)
    if story is not None:
        story.append(TICK)
    return world.tick()


def _words(swap: Swap | None) -> str:
    assert swap is not None
    if swap.new.holder is None:
        return f"releases slot {swap.slot}"
    return f"claims slot {swap.slot} at epoch {swap.new.epoch}"


def _list(slots: frozenset[int]) -> str:
    return " and ".join(map(str, sorted(slots)))
