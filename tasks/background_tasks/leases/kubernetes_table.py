"""`SlotTable` over one ConfigMap: read, compare-and-set by resourceVersion, and a new realm where the old one is over.

A realm is over when its table cannot be read, when it was copied, or when it went back: a realm that another has
followed, a row's epoch or the server's own count lower than what this member has seen. Claims may be missing from such
a table, and an epoch handed out twice would fence nobody. The rows of the new realm are the later claims of what stands
there and of what we remember: holders keep their rows and claim them anew, and nobody else takes them before that. A
newcomer remembers nothing: where others have read a table that is lost, all rows are waited out.

Not here: what a table looks like (`kubernetes_bodies`), what a watch is worth (`kubernetes_cache`).
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

from background_tasks.api.names import slot_table_name
from background_tasks.domain.model import MemberId
from background_tasks.errors import Unavailable
from background_tasks.leases.kubernetes_bodies import (
    UNREADABLE,
    Blank,
    CountedOtherwise,
    Damaged,
    Intact,
    Reading,
    new_table,
    read_table,
    renewed_rows,
    written_table,
)
from background_tasks.leases.kubernetes_cache import TableCache
from background_tasks.leases.kubernetes_members import Place
from background_tasks.leases.kubernetes_swaps import Swap, Swaps
from background_tasks.leases.kubernetes_waiting import Waiting
from background_tasks.ports import Clock, MemberRecord, SlotRow, TableView
from background_tasks.services.kubernetes.client import Cluster
from background_tasks.services.kubernetes.errors import AlreadyExists, Conflict, NotFound
from background_tasks.services.kubernetes.reflector import Changed, Deleted, Listed, Reflector, Told
from background_tasks.services.kubernetes.resources import CONFIG_MAPS

ATTEMPTS = 16
"""Each failed one is somebody else's success, so the pool gets on; a member that lost so often looks again."""
PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.2
MAY_LAG = 0.25
"""In durations of our own lease: so long after the last sign of life of its watch the table is not asked for."""
FREE = SlotRow(holder=None, epoch=0)
LOST = SlotRow(holder=UNREADABLE, epoch=0)


class ConfigMapTable:
    """The slot table of one pool. `ring` is called when others may have to act."""

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        *,
        clock: Clock,
        report: Callable[[str], None],
        ring: Callable[[], None],
        members: Callable[[], Awaitable[Mapping[MemberId, MemberRecord]]],
        others_know_a_table: Callable[[], Awaitable[bool]],
    ) -> None:
        """`members` and `others_know_a_table` ask the server for all leases of the pool."""
        self.duration = 0.0
        """Of our own lease; 0 before its first renewal."""
        self._cluster = cluster
        self._place = place
        self._clock = clock
        self._report = report
        self._ring = ring
        self._members = members
        self._others_know_a_table = others_know_a_table
        self._name = slot_table_name(place.pool)
        self._where = f"slot table {place.namespace}/{self._name}"
        self._cache = TableCache()
        self._known: TableView | None = None
        self._over: set[str] = set()
        self._waiting = Waiting()
        self._swaps = Swaps(self._swap, self._where)

    @property
    def realm(self) -> str:
        """The realm of the newest table that was read; empty: none was."""
        return "" if self._known is None else self._known.realm

    def holders(self) -> set[MemberId]:
        """Name who holds a slot, by the newest table that was read."""
        return set() if self._known is None else {row.holder for row in self._known.rows if row.holder is not None}

    # --- reading ---

    async def read(self, *, fresh: bool = False) -> TableView:
        """Read the table; makes it, with a new realm, where it is blank or cannot be gone on with."""
        if not fresh and self._cache.may_answer(self._clock.boottime(), self.duration * MAY_LAG):
            reading = self._reading()
            if isinstance(reading, Intact):
                return self._know(reading.view)
        for attempt in range(ATTEMPTS):
            await self._get()
            view = await self._settle(self._reading())
            if view is not None:
                return view
            await self._pause(attempt)
        raise self._outrun()

    async def _get(self) -> None:
        newest, asked_at = self._cache.version, self._clock.boottime()
        try:
            body = await self._cluster.get(CONFIG_MAPS, self._name, namespace=self._place.namespace)
        except NotFound:
            body = None
        if self._cache.take_answer(body, newest=newest, asked_at=asked_at) and self._known is not None:
            self._over.add(self._known.realm)

    def _reading(self) -> Reading | None:
        """Say what stands in the table, with what we remember of it. None: there is no table."""
        if self._cache.body is None:
            return None
        reading, known = read_table(self._cache.body, self._place.slots), self._known
        if isinstance(reading, Damaged) and known is not None:
            return Damaged(reading.why, renewed_rows(reading.rows, known.rows))
        if not isinstance(reading, Intact) or known is None:
            return reading
        rows = reading.view.rows
        same_realm = reading.view.realm == known.realm
        if same_realm and any(row.epoch < ours.epoch for row, ours in zip(rows, known.rows, strict=True)):
            self._over.add(known.realm)
        if reading.view.realm not in self._over:
            return reading
        return Damaged("its epochs went back, as after a backup was restored", renewed_rows(rows, known.rows))

    async def _settle(self, reading: Reading | None) -> TableView | None:
        """Return the table to go on with. None: read again."""
        free = (FREE,) * self._place.slots
        match reading:
            case None:
                await self._make()
                return None
            case Intact(view):
                return self._know(view)
            case Damaged(why, rows):
                return await self._begin_realm(why, rows)
            case Blank() if self._known is not None:
                return await self._begin_realm("all that stood in it is lost", self._known.rows)
            case Blank() if await self._others_know_a_table():
                return await self._begin_realm("others know a table that is lost", (LOST,) * self._place.slots)
            case Blank():
                return await self._begin_realm("", free)
            case CountedOtherwise(count, holders):
                await self._wait_out(count, holders)
                return await self._begin_realm(f"it has {count} slots and nobody who holds them", free)

    async def _make(self) -> None:
        if not self._place.may_create:
            raise Unavailable(
                f"{self._where}: the ConfigMap is absent: the operator makes it; or write "
                f"`kubectl create configmap {self._name} --namespace {self._place.namespace}`"
            )
        try:
            await self._cluster.create(
                CONFIG_MAPS, new_table(self._place.namespace, self._place.pool), namespace=self._place.namespace
            )
        except AlreadyExists:
            return

    async def _begin_realm(self, why: str, rows: tuple[SlotRow, ...]) -> TableView | None:
        view = TableView(realm=uuid.uuid4().hex, rows=rows)
        if not await self._write(view):
            return None
        if why:
            self._report(f"{self._where}: {why}; a new realm begins and slots are claimed anew")
        return self._know(view)

    async def _wait_out(self, count: int, holders: frozenset[MemberId]) -> None:
        """Return once nobody can act by a table of another size. Raises `Unavailable` until then."""
        alive = self._waiting.alive(holders, await self._members(), self._clock.boottime(), self.duration)
        if alive or not self.duration:
            raise Unavailable(
                f"{self._where} has {count} slots, this worker was told {self._place.slots}: a pool's number of slots "
                f"never changes while {', '.join(alive) or 'anybody'} may hold some; give {count}, or another pool"
            )

    def _know(self, view: TableView) -> TableView:
        if self._known is not None and self._known.realm != view.realm:
            self._over.add(self._known.realm)
        self._known = view
        return view

    # --- writing ---

    async def compare_and_set(self, realm: str, slot: int, expected: SlotRow, new: SlotRow) -> bool:
        """Replace one row if realm and row are still as expected."""
        return await self._swaps.ask(Swap(realm=realm, slot=slot, expected=expected, new=new))

    async def _swap(self, swaps: Sequence[Swap]) -> Sequence[bool]:
        """Try all of them in one write; those that find another row are refused."""
        sure = False
        for attempt in range(ATTEMPTS):
            if (attempt and not sure) or self._cache.body is None:
                await self._get()
                sure = True
            tried = self._cache.version
            view, done = self._swapped(swaps)
            if view is None and sure:
                return done
            if view is not None and await self._write(view):
                self._know(view)
                return done
            sure = self._cache.version > tried and view is not None
            await self._pause(attempt)
        raise self._outrun()

    def _swapped(self, swaps: Sequence[Swap]) -> tuple[TableView | None, list[bool]]:
        """Say what the table is after these swaps, and which were done. None: it stays as it is."""
        reading = self._reading()
        if not isinstance(reading, Intact):
            return None, [False] * len(swaps)
        realm, rows, done = reading.view.realm, list(reading.view.rows), []
        for swap in swaps:
            done.append(swap.realm == realm and rows[swap.slot] == swap.expected)
            if done[-1]:
                rows[swap.slot] = swap.new
        return (TableView(realm=realm, rows=tuple(rows)) if any(done) else None), done

    async def _write(self, view: TableView) -> bool:
        """Write over the table as it is known. False: somebody else was first."""
        before, sent_at = self._cache.body, self._clock.boottime()
        assert before is not None
        answer = None
        try:
            answer = await self._cluster.replace(
                CONFIG_MAPS, written_table(before, view), namespace=self._place.namespace
            )
        except (Conflict, NotFound):
            return False
        finally:
            if answer is None:
                self._cache.doubt()  # also where the write was cut short: what stands there, only the server knows
        self._cache.take_write(answer, sent_at=sent_at)
        self._ring()
        return True

    async def _pause(self, attempt: int) -> None:
        await asyncio.sleep(min(LONGEST_PAUSE_S, PAUSE_S * 2**attempt) * self._clock.draw())

    def _outrun(self) -> Unavailable:
        return Unavailable(f"{self._where}: {ATTEMPTS} times in a row somebody else wrote first")

    # --- following ---

    async def follow(self) -> None:
        """Keep the cache, for ever."""
        reflector = Reflector(
            self._cluster, CONFIG_MAPS, clock=self._clock, namespace=self._place.namespace,
            field_selector=f"metadata.name={self._name}", report=self._report,
        )  # fmt: skip
        async for told in reflector.events():
            self._hear(told)

    def _hear(self, told: Told) -> None:
        now, news = self._clock.boottime(), False
        try:
            match told:
                case Listed(bodies):
                    news = any(self._cache.take_change(body, now) for body in bodies)  # one at the most
                case Changed(body):
                    news = self._cache.take_change(body, now)
                case Deleted(body):
                    news = self._cache.take_deletion(body, now)
        except Unavailable as error:
            self._report(f"{self._where}: an event is passed over: {error}")
            self._cache.doubt()
        if news:
            self._ring()
