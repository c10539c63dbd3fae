"""Tasks from real files: what editors, mounts and people do to them, and what is told of it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from background_tasks.api.pool import WorkerPool
from background_tasks.domain.model import Interval
from background_tasks.errors import Refused
from background_tasks.ports import RefusedDocument, Removed, SourceEvent, Upserted
from background_tasks.sources.contents import survey
from background_tasks.sources.files import FileSource

DEADLINE_S = 10.0
TASK = """\
apiVersion: background-tasks.dev/v1alpha1
kind: BackgroundTask
metadata: {{name: {name}}}
spec:
  task: t
  poolRef: {{name: {pool}}}
  schedule: {{interval: {interval}}}
---
"""
POOL = (
    "apiVersion: background-tasks.dev/v1alpha1\nkind: WorkerPool\nmetadata: {name: default}\nspec: {slots: %d}\n---\n"
)

type Following = Callable[[], Awaitable[str]]


def task(name: str, interval: str = "1m", pool: str = "default") -> str:
    """Write one task."""
    return TASK.format(name=name, interval=interval, pool=pool)


def told(event: SourceEvent) -> str:
    """Say an event in a few words: `a/1 60s` for generation 1 of task a, which has an interval of a minute."""
    if isinstance(event, Upserted):
        cadence = event.task.policy.schedule.cadence
        assert isinstance(cadence, Interval)
        return f"{event.task.name.removeprefix('default/')}/{event.task.generation} {cadence.seconds:g}s"
    if isinstance(event, RefusedDocument):
        return event.refusal.message
    return "removed" if isinstance(event, Removed) else "synced"


@asynccontextmanager
async def watching(source: FileSource) -> AsyncIterator[Following]:
    """Watch until the test is over; each call waits for the next event."""
    async with aclosing(source.watch()) as events:

        async def following() -> str:
            async with asyncio.timeout(DEADLINE_S):
                return told(await anext(events))

        yield following


def source_of(*roots: Path, pool: str | None = "default") -> FileSource:
    """Build a source whose clock stands still."""
    return FileSource(roots, now=lambda: 100.0, pool=pool)


async def test_what_exists_is_told_then_every_change(tmp_path: Path) -> None:
    """Files below directories too, in the order of their names; a new one at once, a deleted one as removal."""
    (tmp_path / "b.yml").write_text(task("b"))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.json").write_text(task("a").replace("---\n", ""))
    async with watching(source_of(tmp_path)) as following:
        assert [await following() for _ in range(3)] == ["a/1 60s", "b/1 60s", "synced"]
        (tmp_path / "a" / "c.yaml").write_text(task("c"))
        assert await following() == "c/1 60s"
        (tmp_path / "b.yml").write_text(task("b", "2m"))
        assert await following() == "b/2 120s"
        (tmp_path / "b.yml").unlink()
        assert await following() == "removed"


async def test_a_change_right_after_the_first_look_is_heard(tmp_path: Path) -> None:
    """The ear is open before the eye looks."""
    async with watching(source_of(tmp_path)) as following:
        assert await following() == "synced"
        (tmp_path / "a.yaml").write_text(task("a"))
        async with asyncio.timeout(1.0):
            assert await following() == "a/1 60s"


@pytest.mark.parametrize("named", ["the file", "its directory"])
async def test_editors_replace_files_by_renaming(tmp_path: Path, named: str) -> None:
    """The task is changed, not removed and made anew; a file that is named by itself is followed through its name."""
    file = tmp_path / "a.yaml"
    file.write_text(task("a"))
    async with watching(source_of(file if named == "the file" else tmp_path)) as following:
        assert [await following() for _ in range(2)] == ["a/1 60s", "synced"]
        for seconds in (90, 120):
            (tmp_path / ".a.yaml.swp").write_text(task("a", f"{seconds}s"))
            (tmp_path / ".a.yaml.swp").replace(file)
            assert (await following()).endswith(f" {seconds}s")


async def test_a_file_that_is_away_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    """Some editors move the old file away, or truncate it, before they write the new one."""
    file = tmp_path / "a.yaml"
    file.write_text(task("a"))
    async with watching(source_of(tmp_path)) as following:
        assert [await following() for _ in range(2)] == ["a/1 60s", "synced"]
        loop = asyncio.get_running_loop()
        file.rename(tmp_path / "a.yaml~")
        loop.call_later(0.15, file.write_text, task("a", "90s"))
        assert await following() == "a/2 90s"
        file.write_text("")
        loop.call_later(0.15, file.write_text, task("a", "120s"))
        assert await following() == "a/3 120s"


async def test_a_bad_file_keeps_its_tasks_until_it_is_mended(tmp_path: Path) -> None:
    """What was good stays armed; the fault is told once; what is good in a bad file is taken."""
    file = tmp_path / "a.yaml"
    file.write_text(task("a") + task("b"))
    async with watching(source_of(tmp_path)) as following:
        assert [await following() for _ in range(3)] == ["a/1 60s", "b/1 60s", "synced"]
        file.write_text(task("b", "90s") + task("a", "90"))
        assert await following() == "b/2 90s"
        assert await following() == "spec.schedule.interval: 90 is a number without a unit; write 90s"
        file.write_text(task("b", "90s") + task("a", "90s"))
        assert await following() == "a/2 90s"
        file.write_text(task("b", "90s"))
        assert await following() == "removed"


async def test_what_did_not_change_is_not_told(tmp_path: Path) -> None:
    """Touching a file, rewriting it, or moving a task to another file changes nothing."""
    file = tmp_path / "a.yaml"
    file.write_text(task("a"))
    async with watching(source_of(tmp_path)) as following:
        assert [await following() for _ in range(2)] == ["a/1 60s", "synced"]
        file.touch()
        file.write_text("# a comment\n" + task("a"))
        file.rename(tmp_path / "z.yaml")
        (tmp_path / "b.yaml").write_text(task("b"))
        assert await following() == "b/1 60s"


async def test_a_mounted_config_map_is_followed_through_its_swap(tmp_path: Path) -> None:
    """Kubernetes swaps a hidden link; the hidden copies are not read as files of their own."""
    for version, interval in (("..1", "1m"), ("..2", "2m")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(task("a", interval))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with watching(source_of(tmp_path)) as following:
        assert [await following() for _ in range(2)] == ["a/1 60s", "synced"]
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        assert await following() == "a/2 120s"


async def test_a_directory_that_goes_away_takes_no_task_with_it(tmp_path: Path) -> None:
    """A failed look is not an empty one; when the directory is back, it is looked at again."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "a.yaml").write_text(task("a"))
    async with watching(source_of(folder)) as following:
        assert [await following() for _ in range(2)] == ["a/1 60s", "synced"]
        shutil.rmtree(folder)
        assert await following() == "cannot be listed: the directory is not there any more; its tasks stay as they were"
        folder.mkdir()
        (folder / "a.yaml").write_text(task("a", "90s"))
        assert await following() == "a/2 90s"


async def test_only_tasks_of_the_pool_are_told(tmp_path: Path) -> None:
    """A task that moves to another pool is gone from this one; faults of other pools are not ours."""
    file = tmp_path / "a.yaml"
    file.write_text(task("a") + task("b", pool="batch") + task("c", "30", pool="batch"))
    async with watching(source_of(tmp_path)) as following:
        assert [await following() for _ in range(2)] == ["a/1 60s", "synced"]
        file.write_text(task("a", pool="batch") + task("b", pool="batch"))
        assert await following() == "removed"


async def test_pools_and_foreign_documents_are_shown_beside_the_tasks(tmp_path: Path) -> None:
    """The local engine takes flags, groups and slots from the pool; a ConfigMap is noted."""
    seen: list[Mapping[str, WorkerPool]] = []
    file = tmp_path / "a.yaml"
    file.write_text(POOL % 4 + "apiVersion: v1\nkind: ConfigMap\n")
    source = FileSource([file], now=lambda: 100.0, on_pools=seen.append)
    async with watching(source) as following:
        assert await following() == "synced"
        assert source.notes == (f"{file}:6 (document 2): ConfigMap is left alone",)
        file.write_text(POOL % 8 + task("a"))
        assert await following() == "a/1 60s"
    assert [pools["default"].spec.slots for pools in seen] == [4, 8]


def test_a_task_in_two_files_is_refused_with_both_places(tmp_path: Path) -> None:
    """The first by the order of names is taken, on every worker alike."""
    for name, interval in (("a.yaml", "1m"), ("b.yaml", "2m")):
        (tmp_path / name).write_text("# tasks\n" + task("t", interval))
    found = survey([tmp_path])

    assert [told(Upserted(declared.task)) for declared in found.tasks.tasks.values()] == ["t/0 60s"]
    assert [(refusal.where, refusal.message) for refusal in found.tasks.refusals] == [
        (
            f"{tmp_path}/b.yaml:4 (document 1)",
            f"metadata.name: BackgroundTask default/t is declared before, at {tmp_path}/a.yaml:4 (document 1); "
            "rename or remove one of the two",
        )
    ]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    """A link that leads to itself is a fault of one file."""
    (tmp_path / "a.yaml").symlink_to("a.yaml")
    (tmp_path / "b.yaml").write_text(task("b"))
    found = survey([tmp_path])

    assert [declared.task.name for declared in found.tasks.tasks.values()] == ["default/b"]
    assert [refusal.message for refusal in found.tasks.refusals] == [
        "the file cannot be read: Too many levels of symbolic links; correct or remove it"
    ]


def test_a_path_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    """A typing error in a path must not look like an empty directory."""
    with pytest.raises(Refused, match="no such file or directory; give a YAML or JSON file"):
        source_of(tmp_path / "tsaks")
