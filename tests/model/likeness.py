"""When are two small worlds the same? A key that forgets what no decision can see.

Forgotten are: what clocks show (only ages count), how old something is beyond the longest lease, the numbers of lease
versions (only changes count), how high epochs are (only steps count), and the names of members (they are alike: only
who is who counts).
"""

import marshal
from typing import Any

from xxhash import xxh3_128_intdigest

from background_tasks.domain.model import MemberId
from background_tasks.engine.roster import NEVER, Swap
from background_tasks.ports import SlotRow
from tests.model.small_world import NOBODY, Actor, World

FAR = 6
"""Ages beyond any lease of the small world are all the same."""

type Key = tuple[Any, ...]


class _Likeness:
    """Numbers for the names and versions of one world, in the order in which they are met."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._names: dict[MemberId | None, int] = {None: -1}
        self._versions: dict[str | None, int] = {None: -1}
        self._turn = None if world.turn == NOBODY else world.actors[world.turn]
        self._epochs = [row.epoch for row in world.rows]

    def key(self) -> Key:
        world = self.world
        order = sorted(world.actors, key=self._outside) if world.any_order else world.actors
        for actor in order:
            self._name(actor.roster.me)
        return (
            tuple(self._name(row.holder) for row in world.rows),
            tuple(newest - epoch for newest, epoch in zip(world.newest, self._epochs, strict=True)),
            tuple([(self._name(who), self._version(one.version), one.leaving) for who, one in world.leases.items()]),
            tuple(
                [
                    (
                        record and (self._name(record.member), self._version(record.version), record.leaving),
                        swap and self._swap(swap),
                    )
                    for record, swap in world.late
                ]
            ),
            tuple([(self._decisions(actor), self._doings(actor)) for actor in order]),
            world.faults,
        )

    def _outside(self, actor: Actor) -> Key:
        """Say what can be said of a member without naming anybody."""
        roster, now = actor.roster, self.world.time(actor)
        work = tuple([(slot, fence.epoch - self._epochs[slot]) for slot, fence in sorted(actor.work.items())])
        held = tuple([slot for slot, row in enumerate(self.world.rows) if row.holder == roster.me])
        return (
            actor.settings.duration,
            actor.step,
            actor.paused,
            actor.cut,
            actor.clings,
            self._turn is actor,
            roster.leaving,
            held,
            work,
            tuple(sorted(actor.asked)),
            _age(now, roster.confirmed_at),
            _age(now, roster._asked_at),
            len(actor.swaps),
            len(actor.answers),
        )

    def _decisions(self, actor: Actor) -> Key:
        roster, now = actor.roster, self.world.time(actor)
        return (
            _age(now, roster.confirmed_at),
            _age(now, roster._asked_at),
            max(-1.0, roster._content_until - now),
            tuple([self._row(slot, row) for slot, row in enumerate(roster._rows)]),
            tuple(
                sorted(
                    [
                        (self._name(who), self._version(seen.version), _age(now, seen.seen_at), seen.duration)
                        for who, seen in roster._seen.items()
                    ]
                )
            ),
            tuple(sorted([self._name(other) for other in roster._others])),
            tuple(sorted([(slot, _age(now, since)) for slot, since in roster._free_since.items()])),
            tuple(
                sorted(
                    [
                        (
                            slot,
                            tenure.fence.epoch - self._epochs[slot],
                            tenure.surrendering,
                            tenure.lost,
                            max(-1.0, tenure.stop_by - now),
                        )
                        for slot, tenure in roster._tenures.items()
                    ]
                )
            ),
        )

    def _doings(self, actor: Actor) -> Key:
        now, chain = self.world.time(actor), actor.roster.chain
        return (
            self._outside(actor),
            -1 if actor.woke_at is None else min(self.world.now - actor.woke_at, FAR),
            tuple([(self._swap(swap), swap.chain == chain) for swap in actor.swaps]),
            tuple(
                [
                    (swap and (self._swap(swap), swap.chain == chain), _age(now, sent_at), done)
                    for swap, sent_at, done in actor.answers
                ]
            ),
            actor.view and tuple([self._row(slot, row) for slot, row in enumerate(actor.view.rows)]),
        )

    def _name(self, member: MemberId | None) -> int:
        return self._names.setdefault(member, len(self._names))

    def _version(self, text: str | None) -> int:
        return self._versions.setdefault(text, len(self._versions))

    def _row(self, slot: int, row: SlotRow) -> Key:
        return self._name(row.holder), row.epoch - self._epochs[slot]

    def _swap(self, swap: Swap) -> Key:
        return swap.slot, self._row(swap.slot, swap.expected), self._row(swap.slot, swap.new)


def key_of(world: World) -> int:
    """Return equal numbers for worlds that go on alike (the seconds that are left do not count)."""
    # Python's own hash of tuples does not do: it takes -1 and -2 for one number.
    return xxh3_128_intdigest(marshal.dumps(_Likeness(world).key(), 2))


def _age(now: float, since: float) -> float:
    return FAR if since == NEVER else min(now - since, FAR)
