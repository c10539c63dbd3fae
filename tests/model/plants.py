"""Faults put in on purpose: one decision of the protocol replaced by a wrong one, in the model's worlds only.

A checker that has never found anything proves nothing. Each plant is a class that overrides one method of the
production's `Roster` or `Keeper`; the tests ask that the worlds which pass with the original fail with it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import override

from background_tasks.domain.model import MemberId
from background_tasks.domain.slots import Claim, Move
from background_tasks.engine.keeper import Keeper, Store
from background_tasks.engine.roster import Roster, Swap, _Seen, _Tenure
from background_tasks.engine.slot_events import SlotEvent, Surrender
from background_tasks.errors import BackgroundTaskError
from background_tasks.ports import MemberRecord, SlotRow, TableView


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """What stands in for the production's classes."""

    name: str
    roster: type[Roster] = Roster
    keeper: type[Keeper] = Keeper
    leases_first: bool = False
    """In the small world, which has no keeper: read the leases before the table."""


def written_at(record: MemberRecord) -> float:
    """Return the instant, by its holder's clock, at which a record of the model was sent."""
    return float(record.version.partition("@")[2])


class BelievesOtherClocks(Roster):
    """Times a lease by the instant that its holder wrote, on the holder's clock, as naive leases do."""

    @override
    def _see(self, records: Mapping[MemberId, MemberRecord], now: float) -> None:
        super()._see(records, now)
        for member in self._seen.keys() & records.keys():
            self._seen[member] = replace(self._seen[member], seen_at=written_at(records[member]))
        self._free_since = {slot: self._free_since.get(slot, self._asked_at) for slot in self._claimable()}


class BelievesOwnConfig(Roster):
    """Waits for its own configured duration, not for the one that the holder recorded."""

    @override
    def _see(self, records: Mapping[MemberId, MemberRecord], now: float) -> None:
        ours = self._settings.duration
        super()._see({member: replace(record, duration=ours) for member, record in records.items()}, now)


class ReleasesBeforeStop(Roster):
    """Releases a slot when it is asked to give it back, not when its work has ended."""

    @override
    def _surrender(self, tenure: _Tenure) -> Surrender:
        del self._tenures[tenure.fence.slot]
        return super()._surrender(tenure)


class StampsAfterReply(Roster):
    """Counts a renewal from its answer, not from before its request left."""

    @override
    def renewed(self, sent_at: float, now: float) -> list[SlotEvent]:
        return super().renewed(now, now)


class ClaimsWithoutWaiting(Roster):
    """Takes a slot without having watched its holder's lease."""

    @override
    def _next_move(self, row: SlotRow) -> Move:
        return Claim(epoch=row.epoch + 1)


class KeepsTheEpoch(Roster):
    """Claims at the epoch that it read."""

    @override
    def _swap(self, slot: int, holder: MemberId | None) -> Swap:
        swap = super()._swap(slot, holder)
        return replace(swap, new=replace(swap.new, epoch=swap.expected.epoch))


class IgnoresItsDeadline(Roster):
    """Does not stand down when its renewals stay unanswered."""

    @override
    def overdue(self, now: float) -> list[SlotEvent]:
        return []


class MendsTheGap(Roster):
    """Lets a renewal whose answer came too late cover the time before it."""

    @override
    def renewed(self, sent_at: float, now: float) -> list[SlotEvent]:
        self.confirmed_at = max(self.confirmed_at, sent_at)
        return []


class BelievesTheTable(Roster):
    """Acts for a slot because a row names it, without an answered claim."""

    @override
    def observed(
        self, view: TableView, records: Mapping[MemberId, MemberRecord], *, asked_at: float, now: float
    ) -> list[SlotEvent]:
        events = super().observed(view, records, asked_at=asked_at, now=now)
        for slot in set(self._ours_on_paper()) - self._tenures.keys():
            row = self._rows[slot]
            swap = Swap(realm=self._realm, slot=slot, expected=row, new=row, chain=self.chain)
            events += self.swapped(swap, True, now)
        return events


class GivesBackToNobody(Roster):
    """Gives slots back although nothing was asked for: what it gains it surrenders."""

    @override
    def give_back(self) -> list[SlotEvent]:
        acting = [tenure for tenure in self._acting() if not tenure.surrendering]
        return [self._surrender(acting[0])] if self._others and acting else super().give_back()


class NeverTakesOver(Roster):
    """Respects a silent holder for ever."""

    @override
    def _see(self, records: Mapping[MemberId, MemberRecord], now: float) -> None:
        super()._see(records, now)
        holders = {row.holder for row in self._rows} - {None, self.me}
        self._seen |= {holder: _Seen(version=None, seen_at=now, duration=1e9) for holder in holders if holder}
        self._free_since = {slot: self._free_since.get(slot, self._asked_at) for slot in self._claimable()}


class ReadsLeasesFirst(Keeper):
    """Reads the leases before the table: old news about a new row."""

    @override
    async def _look(self, store: Store) -> None:
        lease, table = store
        asked_at = self._clock.boottime()
        try:
            async with asyncio.timeout(self._settings.retry_period):
                records = await lease.members()
                view = await self._read(table)
        except (BackgroundTaskError, TimeoutError) as error:
            self._troubles.began("read slot table", error)
            return
        self._tell(self._roster.observed(view, records, asked_at=asked_at, now=self._clock.boottime()))
        self._tell(self._roster.give_back())
        if self._clock.boottime() >= self._claim_from:
            await self._swap_all(table)


PLANTS = {
    plant.name: plant
    for plant in (
        Plant(name="other clock", roster=BelievesOtherClocks),
        Plant(name="own config", roster=BelievesOwnConfig),
        Plant(name="release before stop", roster=ReleasesBeforeStop),
        Plant(name="stamp after reply", roster=StampsAfterReply),
        Plant(name="claim without waiting", roster=ClaimsWithoutWaiting),
        Plant(name="epoch not raised", roster=KeepsTheEpoch),
        Plant(name="stand-down ignored", roster=IgnoresItsDeadline),
        Plant(name="gap mended", roster=MendsTheGap),
        Plant(name="table believed", roster=BelievesTheTable),
        Plant(name="leases before table", keeper=ReadsLeasesFirst, leases_first=True),
        Plant(name="gives back to nobody", roster=GivesBackToNobody),
        Plant(name="never takes over", roster=NeverTakesOver),
    )
}
ORIGINAL = Plant(name="as shipped")
