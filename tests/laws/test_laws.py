"""The promises that every task of the catalogue keeps, each over all of them; the worlds are in `conftest`."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from background_tasks.authoring import TaskReport, declaration_of
from background_tasks.catalogue import CATALOGUE
from background_tasks.domain.gates import CHAT_FLAG
from background_tasks.domain.model import Task, TaskUid
from background_tasks.engine.scheduler import Binding
from background_tasks.errors import Unavailable
from background_tasks.ports import Refusal
from background_tasks.testing import CrashingClient
from background_tasks.testing.crashes import Crash
from background_tasks.worker.declared import policy_of
from background_tasks.worker.registry import Registry

if TYPE_CHECKING:
    from tests.laws.conftest import Lines, Whole, World

pytestmark = pytest.mark.contract
MOST_POINTS = 200
"""A run of more calls is tried at so many of them, drawn by a fixed seed."""
CANCEL_S = 5.0
SAMPLED = 16
"""At so many calls of a run that is not short, where a law is tried in several ways."""
SHORT = 60
SIZES = {"claim_limit", "batch", "chunk", "save_lines"}
PASSIVE = {"ok", "noop"}

LEFT_OUT: Mapping[int, str] = {
    5: "none of the five reads or writes what people said in a channel; that upkeep obeys a consent that was "
    "withdrawn is in tests/contract/test_limbic_maintenance.py",
    9: "none of the five calls a model, so there is no budget to hold; law 10 shows that no call is possible",
}
"""Laws that cannot be tried on these tasks, and why."""


def points(calls: int, most: int = MOST_POINTS) -> list[int]:
    """Choose at which calls of a run to strike: all of a short one, else a seeded sample in order."""
    return sorted(random.Random(calls).sample(range(calls), calls if calls <= SHORT else min(calls, most)))


@asynccontextmanager
async def closing(wire: CrashingClient) -> AsyncIterator[CrashingClient]:
    """Close a wire's client afterwards."""
    try:
        yield wire
    finally:
        await wire.client.aclose()


async def clean_run(world: "World") -> tuple[int, "Whole"]:
    """Run once, undisturbed, and lay the state out anew; return the number of calls and what was left."""
    async with closing(world.wire()) as wire:
        await world.run(wire)
    expected = await world.whole()
    await world.fresh()
    return wire.trips, expected


async def struck(world: "World", **how: Any) -> TaskReport | BaseException:
    """Run over a wire that fails as told; return the report, or what the run raised."""
    async with closing(world.wire(**how)) as wire:
        try:
            return await world.run(wire, params=world.hasty)
        except BaseExceptionGroup as group:  # of a task that runs in several
            return group.exceptions[0]
        except (Crash, Unavailable) as error:
            return error


async def test_law_1_run_twice_is_run_once(world: "World") -> None:
    """The second run changes nothing, and reports nothing done."""
    await world.run()
    once = await world.whole()

    again = await world.run_again()

    assert (await world.whole()).unlike(once) == []
    assert again.outcome == "noop"
    assert (again.created, again.updated, again.deleted) == (0, 0, 0)


async def test_law_2_a_crash_at_any_call_changes_nothing_in_the_end(world: "World") -> None:
    """Killed before a call is sent or after it was obeyed, and run again: as after one clean run.

    A short run is killed at each call in both ways, a longer one at each call in one of them, by turns.
    """
    calls, expected = await clean_run(world)
    crashed = 0

    for at in points(calls):
        for obeyed in (False, True) if calls < SHORT else (at % 2 == 1,):
            await world.fresh()
            crashed += isinstance(await struck(world, at=at, obeyed=obeyed), Crash)
            await world.run_again()
            assert (await world.whole()).unlike(expected) == [], f"call {at} of {calls}, obeyed: {obeyed}"

    assert crashed >= min(calls, MOST_POINTS) > 4


@pytest.mark.parametrize("seed", range(4))
async def test_law_3_two_runs_at_once_are_one(world: "World", seed: int) -> None:
    """Begun a few turns of the loop apart, they leave what one leaves, and together report no more than one does."""
    alone = await world.run()
    expected = await world.whole()
    await world.fresh()
    draw = random.Random(seed)

    async def one(turns: int) -> TaskReport:
        async with closing(world.wire()) as wire:
            for _ in range(turns):
                await asyncio.sleep(0)
            return await world.run(wire)

    reports = await asyncio.gather(*(one(draw.randrange(60)) for _ in range(2)))

    assert (await world.whole()).unlike(expected) == []
    assert {report.outcome for report in reports} <= {alone.outcome, "ok", "noop", "superseded"}
    for number in ("created", "updated", "deleted"):
        assert sum(getattr(report, number) for report in reports) == getattr(alone, number), number


async def test_law_4_the_report_equals_the_change(world: "World") -> None:
    """What it tells as created, updated and deleted is what graph and Redis gained, changed and lost."""
    before = await world.whole()

    report = await world.run()

    change = world.change(before, await world.whole())
    assert {number: getattr(report, number) for number in change} == change
    assert sum(change.values()) > 0


async def test_law_6_no_secret_is_carried_anywhere(
    world: "World", secrets: "Lines", capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """No graph, key, file, log or report holds a secret afterwards that it did not hold before, but for `lawful`."""
    await world.redis.flushall()
    await world.hold(secrets)
    before = await world.places()

    report = await world.run(params=dict.fromkeys(world.small.keys() & SIZES, 50))

    logs = "".join((*capfd.readouterr(), caplog.text))
    told = [one.model_dump_json() for one in (report, *world.told)]
    after = await world.places() | {"log": logs, "report": "\n".join(told)}
    parts = {part for _, secret in secrets for part in secret.split("\n")}
    leaks = [
        (place, part) for place, text in after.items() for part in sorted(parts)
        if place not in world.lawful and part in text and part not in before.get(place, "")
    ]  # fmt: skip
    assert leaks == []
    assert report.items_in + report.deleted > 20


@pytest.mark.parametrize(
    ("error", "obeyed", "recovers"),
    [
        pytest.param(NoConnection, False, False, id="an outage"),
        pytest.param(NoConnection, False, True, id="one lost connection"),
        pytest.param(NoAnswer, True, True, id="one lost answer"),
    ],
)
async def test_law_7_a_fault_is_never_told_as_success(
    world: "World", error: Callable[[], BaseException], *, obeyed: bool, recovers: bool
) -> None:
    """It is raised as `Unavailable`, or told as partial; who says ok or noop has done all. The rest is made good."""
    calls, expected = await clean_run(world)
    failed = 0

    for at in points(calls, SAMPLED):
        await world.fresh()
        end = await struck(world, at=at, error=error, obeyed=obeyed, recovers=recovers)
        told_done = isinstance(end, TaskReport) and end.outcome in PASSIVE
        failed += not told_done
        if told_done:
            assert (await world.whole()).unlike(expected) == [], f"call {at} of {calls}: told {end}"
        assert isinstance(end, TaskReport | Unavailable), f"call {at} of {calls}: {end!r}"
        await world.run_again()
        but = tuple(world.left_by_partial) if isinstance(end, TaskReport) and not told_done else ()
        assert (await world.whole()).unlike(expected, but=but) == [], f"made good after call {at} of {calls}"

    assert failed > 2 or recovers


async def cancelled(world: "World", at: int) -> int | None:
    """Cancel a run while it waits for its call `at`; return how many processes lived then (None: the run did not)."""
    reached = asyncio.Event()

    async def wait() -> None:
        reached.set()
        await asyncio.Event().wait()

    async with closing(world.wire(at=at, before=wait)) as wire:
        run = asyncio.get_running_loop().create_task(world.run(wire))
        waiting = asyncio.get_running_loop().create_task(reached.wait())
        await asyncio.wait([run, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        children = len(world.children())
        run.cancel()
        _, running = await asyncio.wait([run], timeout=CANCEL_S)
        assert not running, f"call {at}: the run has not ended {CANCEL_S:g} s after it was cancelled"
    return children if run.cancelled() else None


async def test_law_8_a_cancelled_run_ends_and_leaves_nothing(world: "World") -> None:
    """At any call: within 5 s, without a child process, claims and leases given back; the next run makes it good."""
    others, lived = world.children(), []
    calls, expected = await clean_run(world)

    for at in points(calls, SAMPLED):
        await world.fresh()
        with world.source_waiting():
            lived.append(await cancelled(world, at))
        held = (await world.whole()).hashes("law:prompts:inflight") or await world.redis.keys("law:lease:*")
        assert world.children() == others, f"call {at} of {calls}"
        assert not held, f"call {at} of {calls}: {held} is left"
        await world.run_again()
        assert (await world.whole()).unlike(expected) == [], f"made good after call {at} of {calls}"

    ended = [count for count in lived if count is not None]
    assert len(ended) > 4
    assert (max(ended) > len(others)) == world.has_child


def bound(world: "World", services: Mapping[str, object], flags: Mapping[str, object]) -> Binding | Refusal:
    """Ask a worker's registry what it makes of the task."""
    declaration = declaration_of(world.task)
    assert declaration is not None
    registry = Registry([declaration], services=services, flags=flags)
    return registry.bind(Task(uid=TaskUid("u"), name="ns/task", policy=policy_of(declaration)))


async def test_law_10_no_chat_call_is_possible(world: "World") -> None:
    """No task is handed a chat model, none reaches for the one beside it; with the flag off the tick does not run."""
    services = world.services(world.redis, world.kg)
    off = bound(world, services, {CHAT_FLAG: False})

    await world.run()

    assert not {"openrouter", "chat"} & set(signature(world.task).parameters)
    assert world.chat.touched == []
    assert isinstance(bound(world, services, {}), Binding)
    gated = world.entry.startswith("scheduled_prompt_tick")
    assert isinstance(off, Refusal if gated else Binding)
    assert not isinstance(off, Refusal) or (off.reason, CHAT_FLAG in off.message) == ("FlagOff", True)


async def test_law_11_a_missing_service_is_a_named_condition(world: "World") -> None:
    """Each service that a task asks for: without it the task is refused with the name of it and the fix."""
    services = world.services(world.redis, world.kg)
    needed = [name for name in services if name in signature(world.task).parameters]

    for name in needed:
        refusal = bound(world, {one: services[one] for one in services if one != name}, {})
        assert isinstance(refusal, Refusal)
        assert (refusal.reason, refusal.value) == ("MissingService", name)
        assert refusal.message == f"the pool has no service {name!r}; add it to the pool"

    assert needed


def test_every_entry_of_the_catalogue_is_in_the_suite(suite: frozenset[str]) -> None:
    """A task is not done until the laws are tried on it."""
    assert suite == frozenset(CATALOGUE)


def test_every_law_is_tried_or_left_out_with_a_reason() -> None:
    """Of the eleven none is forgotten in silence."""
    tried = {int(name.split("_")[2]) for name in globals() if name.startswith("test_law_")}
    assert tried | LEFT_OUT.keys() == set(range(1, 12))
    assert not tried & LEFT_OUT.keys()
