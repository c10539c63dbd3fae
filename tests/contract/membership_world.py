"""One member of a pool in a thread of its own, and waiting for what it does. Not here: fixtures (`conftest`)."""

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from background_tasks.domain.model import Fence, MemberId
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.membership import Gained, LeaseSettings, Membership, SlotEvent, Store

SHORT = LeaseSettings(duration=1.5, renew_deadline=1.0, retry_period=0.3)
SLOTS = 6
type Open = Callable[[], AbstractAsyncContextManager[Store]]


class Member:
    """One member and what it was told; it answers each surrender and loss at once unless told to be stubborn."""

    def __init__(
        self, open_store: Open, *, slots: int = SLOTS, stubborn: bool = False, settings: LeaseSettings = SHORT
    ) -> None:
        self.events: list[SlotEvent] = []
        self.deaths: list[str] = []
        self.renewals: list[bool] = []
        self.stubborn = stubborn
        self.slots = slots
        self.membership = Membership(
            member=MemberId(f"m-{uuid.uuid4().hex[:6]}"),
            open_store=open_store,
            slots=slots,
            clock=SystemClock(),
            observer=self,
            on_event=self.hear,
            die=self.deaths.append,
            settings=settings,
        )
        self.membership.start()

    def hear(self, event: SlotEvent) -> None:
        """Note an event; stop work at once."""
        self.events.append(event)
        if not self.stubborn and not isinstance(event, Gained):
            self.membership.stopped(event.slot, event.fence)

    def slots_held(self, count: int) -> None:
        """An observer may not break anything."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """Note a renewal."""
        self.renewals.append(ok)

    @property
    def fences(self) -> list[Fence]:
        """What it may act under now."""
        return [fence for slot in range(self.slots) if (fence := self.membership.fence(slot)) is not None]

    def told(self, kind: type[SlotEvent]) -> int:
        """Count events of one kind."""
        return sum(isinstance(event, kind) for event in self.events)


def eventually(what: Callable[[], bool], message: str, seconds: float = 8.0) -> float:
    """Wait for a condition; return how long it took. Fails with the message."""
    began = time.perf_counter()
    while not what():
        assert time.perf_counter() - began < seconds, f"after {seconds:g} s: {message}"
        threading.Event().wait(0.005)
    return time.perf_counter() - began
