"""A copy of the graph from before the upkeep, kept until the next success.

Not here: bringing it back (`GRAPH.COPY` the other way, by hand). While passes fail, the copy from before the first of
them stays and no further one is made, so that there are two at the most.
"""

from background_tasks.errors import BackgroundTaskError, Refused
from background_tasks.knowledge.graph.store import Abilities
from background_tasks.knowledge.upkeep.sweep import Sweep, Tally

INFIX = ":before-upkeep:"


async def take(sweep: Sweep) -> Tally:
    """Copy the graph, unless a copy since the last success is there or the memory is short."""
    able = sweep.graph.abilities
    if able is None:
        return Tally(skipped="this kg_manager cannot copy a graph; keep an RDB snapshot")
    if sweep.dry_run:
        return Tally(skipped="dry run")
    if kept := await _since_success(sweep, able):
        return Tally(extra={"kept": kept})
    needed, free = await able.memory_mib() * sweep.limits.snapshot_room, await able.free_mib()
    if needed > free:
        return Tally(failed=f"a copy takes {needed:.0f} MiB and {free:.0f} MiB are free; give the server more memory")
    try:
        await able.copy_to(_name(able.name, sweep.now))
    except Refused:
        if kept := await _since_success(sweep, able):  # a run beside this one was first
            return Tally(extra={"kept": kept})
        raise
    return Tally(extra={"made": _name(able.name, sweep.now)})


async def _since_success(sweep: Sweep, able: Abilities) -> str | None:
    """Name the first copy that was made since the last success."""
    times = _times(able.name, await able.graphs())
    return next((_name(able.name, at) for at in times if at > sweep.mark.success_at), None)


async def drop_older(sweep: Sweep) -> None:
    """After a success: drop all copies but the newest."""
    await _drop(sweep, newest=False)


async def drop_all(sweep: Sweep) -> None:
    """Drop every copy."""
    await _drop(sweep, newest=True)


async def _drop(sweep: Sweep, *, newest: bool) -> None:
    able = sweep.graph.abilities
    if able is not None:
        times = _times(able.name, await able.graphs())
        for at in times if newest else times[:-1]:
            await able.drop(_name(able.name, at))


async def memory(sweep: Sweep) -> float | str:
    """Return what the graph takes, in MiB, or why nobody can tell: a figure for the report ends no pass."""
    able = sweep.graph.abilities
    if able is None:
        return "this kg_manager cannot tell"
    try:
        return await able.memory_mib()
    except BackgroundTaskError as error:
        return str(error)


def _name(graph: str, at: int) -> str:
    return f"{graph}{INFIX}{at}"


def _times(graph: str, names: list[str]) -> list[int]:
    """Return when the copies of a graph were made, oldest first."""
    start = graph + INFIX
    return sorted(int(name[len(start) :]) for name in names if name.startswith(start) and name[len(start) :].isdigit())
