"""A worker process in small: it holds slots and acts for each of them every 10 ms, by a fenced write to the ledger.

    slot_worker.py URL POOL NAME SLOTS DURATION RENEW_DEADLINE RETRY_PERIOD [KUBECONFIG NAMESPACE]

Its leases and slots lie in the Redis at URL, or in a namespace of a cluster; its acts always in the Redis. Beside each
act that was refused it counts `refused:<name>`. SIGTERM ends it gracefully.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from background_tasks.domain.model import (
    Fence,
    Interval,
    MemberId,
    Outcome,
    Past,
    Policy,
    RunRecord,
    Schedule,
    Task,
    TaskUid,
)
from background_tasks.engine.clock import SystemClock
from background_tasks.engine.membership import Gained, LeaseSettings, Membership, SlotEvent, Store
from background_tasks.errors import Superseded, Unavailable
from background_tasks.leases.kubernetes import open_kubernetes
from background_tasks.leases.redis import open_redis
from background_tasks.services.redis import connect
from background_tasks.sinks.redis import RedisLedger

CLOCK = SystemClock()
POLICY = Policy(coroutine="act", schedule=Schedule(cadence=Interval(seconds=1)))


class SlotWorker:
    """Acts for the slots it holds; an act under way when a slot goes is ended before the slot is."""

    def __init__(self, url: str, pool: str, name: str, slots: int) -> None:
        self.name = name
        self.redis = connect(url, call_timeout=0.5)
        self.ledger = RedisLedger(self.redis, pool)
        self.refused_key = f"refused:{name}"
        self.slots = slots
        self.acting: dict[int, asyncio.Task[None]] = {}
        self.told_to_stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.count = 0

    async def live(self, membership: Membership) -> None:
        """Act until SIGTERM."""
        self.membership = membership
        async with asyncio.TaskGroup() as self.group:
            membership.start()
            await self.told_to_stop.wait()
            await asyncio.to_thread(membership.stop, 2.0)
        await self.redis.aclose()

    def hear(self, event: SlotEvent) -> None:
        """Begin or end to act for a slot; called in the membership's thread."""
        self.loop.call_soon_threadsafe(self.obey, event)

    def obey(self, event: SlotEvent) -> None:
        """Begin or end to act for a slot."""
        if isinstance(event, Gained):
            self.acting[event.slot] = self.group.create_task(self.act(event.slot))
            return
        acting = self.acting[event.slot]
        acting.cancel()
        acting.add_done_callback(lambda _: self.membership.stopped(event.slot, event.fence))

    async def act(self, slot: int) -> None:
        """Write to the ledger again and again, while the clock says that the slot is ours."""
        task = Task(uid=TaskUid(f"slot-{slot}"), name=f"slot-{slot}", policy=POLICY)
        while True:
            fence = self.membership.fence(slot)
            if fence is not None:
                await self.write(task, fence)
            await asyncio.sleep(0.01)

    async def write(self, task: Task, fence: Fence) -> None:
        """Act once."""
        self.count += 1
        now = CLOCK.wall()
        run = RunRecord(
            run_id=f"{self.name}-{self.count}", uid=task.uid, task=task.name, scheduled_for=now, started_at=now,
            ended_at=now, outcome=Outcome.SUCCEEDED, worker=self.name, fence=fence,
        )  # fmt: skip
        try:
            await self.ledger.record(task, Past(ended_at=now), run)
        except Superseded:
            await self.redis.incr(self.refused_key)
        except Unavailable:
            return


def opener(url: str, pool: str, slots: int, cluster: Sequence[str]) -> Callable[[], AbstractAsyncContextManager[Store]]:
    """Choose where leases and slots lie."""
    if not cluster:
        return lambda: open_redis(url, pool, slots=slots)
    kubeconfig, namespace = cluster
    return lambda: open_kubernetes(pool, slots=slots, clock=CLOCK, namespace=namespace, kubeconfig=Path(kubeconfig))


async def main(url: str, pool: str, name: str, slots: int, more: Sequence[str]) -> None:
    """Run one worker."""
    duration, renew_deadline, retry_period = map(float, more[:3])
    worker = SlotWorker(url, pool, name, slots)
    worker.loop.add_signal_handler(signal.SIGTERM, worker.told_to_stop.set)
    membership = Membership(
        member=MemberId(name),
        open_store=opener(url, pool, slots, more[3:]),
        slots=slots,
        clock=CLOCK,
        observer=Unobserved(),
        on_event=worker.hear,
        die=lambda _: os._exit(70),
        settings=LeaseSettings(duration=duration, renew_deadline=renew_deadline, retry_period=retry_period),
    )
    await worker.live(membership)


class Unobserved:
    """Nobody measures."""

    def slots_held(self, count: int) -> None:
        """Told to nobody."""

    def lease_renewed(self, seconds: float, ok: bool) -> None:
        """Told to nobody."""


if __name__ == "__main__":
    _, url, pool, name, slots, *more = sys.argv
    asyncio.run(main(url, pool, name, int(slots), more))
