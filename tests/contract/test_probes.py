"""Probes over real sockets on the loopback."""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from background_tasks.errors import Unavailable
from background_tasks.telemetry.metrics import Metrics
from background_tasks.telemetry.probes import Health, Probes


class Told:
    """A time that the test sets, and the health that goes by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.health = Health(lambda: self.now, stuck_after_s=10)
        self.tasks: Callable[[], list[dict[str, object]]] = list


@pytest.fixture
def told() -> Told:
    """Give a healthy, synced worker."""
    world = Told()
    world.health.synced = True
    return world


@pytest.fixture
def probes(told: Told) -> Iterator[Probes]:
    """Serve on any free port of the loopback."""
    with Probes(told.health, metrics=Metrics("night").exposition, tasks=lambda: told.tasks()) as serving:
        yield serving


def get(probes: Probes, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Ask, and return status, body and content type."""
    request = urllib.request.Request(probes.url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers["Content-Type"]


def test_a_worker_that_answers_is_alive_and_ready(probes: Probes) -> None:
    """Both probes say ok."""
    assert [get(probes, path)[:2] for path in ("/livez", "/readyz")] == [(200, "ok\n"), (200, "ok\n")]


def test_a_loop_that_stopped_beating_is_not_alive(probes: Probes, told: Told) -> None:
    """After ten seconds without a beat the answer says for how long."""
    told.now += 9.9
    before = get(probes, "/livez")[0]
    told.now += 2.1

    assert before == 200
    assert get(probes, "/livez")[:2] == (503, "the loop has not answered for 12.0 s\n")
    assert get(probes, "/readyz")[0] == 503


async def test_a_stuck_loop_still_tells() -> None:
    """While the loop is held, the server's own thread answers that it is."""
    health = Health(time.perf_counter, stuck_after_s=0.2)
    with Probes(health, metrics=Metrics("night").exposition, tasks=list) as probes:
        answers: list[tuple[int, str, str]] = []
        asking = threading.Thread(target=lambda: answers.append(get(probes, "/livez")))
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(health.beat(0.01))
            await asyncio.sleep(0.05)
            alive = await asyncio.to_thread(get, probes, "/livez")
            hold_until = time.perf_counter() + 0.3
            while time.perf_counter() < hold_until:
                pass
            asking.start()
            asking.join()  # the loop is held until the answer is there
            beating.cancel()

    assert alive[0] == 200
    assert answers[0][0] == 503
    assert answers[0][1].startswith("the loop has not answered for")


def test_a_dead_inner_task_is_named(probes: Probes, told: Told) -> None:
    """A worker whose membership is dead is to be replaced; what was let go is not asked any more."""
    told.health.watch("membership", lambda: True)
    told.health.watch("status writer", lambda: False)
    dead = get(probes, "/livez")
    told.health.unwatch("membership")

    assert dead[:2] == (503, "membership is dead\n")
    assert get(probes, "/livez")[0] == 200


def test_ready_means_synced_and_not_draining(probes: Probes, told: Told) -> None:
    """Before the list of tasks is known, and once a shutdown began, the worker lives and is not ready."""
    told.health.synced = False
    assert get(probes, "/readyz")[:2] == (503, "the list of tasks is not complete yet\n")
    told.health.synced, told.health.draining = True, True
    assert get(probes, "/readyz")[:2] == (503, "draining\n")
    assert get(probes, "/livez")[0] == 200


def test_metrics_are_served_in_the_form_that_is_asked_for(probes: Probes) -> None:
    """Plain text for those who say nothing, OpenMetrics for those who ask."""
    status, body, kind = get(probes, "/metrics")
    request = urllib.request.Request(probes.url + "/metrics", headers={"Accept": "application/openmetrics-text"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        other = answer.read().decode()

    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert 'bgtasks_armed{pool="night"} 0.0' in body
    assert other.endswith("# EOF\n")


def test_tasks_are_listed_as_json(probes: Probes, told: Told) -> None:
    """All of them, or those whose name holds a text, and no more than asked for."""
    told.tasks = lambda: [{"name": f"team/{n}", "running": n} for n in range(3)]
    status, body, kind = get(probes, "/debug/tasks")

    assert (status, kind) == (200, "application/json")
    assert json.loads(body) == {"total": 3, "tasks": told.tasks()}
    assert json.loads(get(probes, "/debug/tasks?limit=1")[1]) == {"total": 3, "tasks": told.tasks()[:1]}
    assert json.loads(get(probes, "/debug/tasks?name=team/2")[1]) == {"total": 1, "tasks": told.tasks()[2:]}
    assert get(probes, "/debug/tasks?limit=all")[0] == 400


@pytest.mark.parametrize("path", ["/", "/livez/", "/healthz", "/../etc/passwd", "/debug", "/livez%00"])
def test_any_other_path_is_not_found(probes: Probes, path: str) -> None:
    """The answer names the paths that there are."""
    assert get(probes, path)[:2] == (404, "try /livez /readyz /metrics /debug/tasks\n")


def test_head_answers_without_a_body_and_post_is_refused(probes: Probes) -> None:
    """Nothing can be changed over this port."""
    assert get(probes, "/livez", "HEAD")[:2] == (200, "")
    assert get(probes, "/livez", "POST")[0] == 501


def test_a_fault_in_an_answer_is_told_and_survived(probes: Probes, told: Told) -> None:
    """One failing page is a 500; the next request is served."""

    def broken() -> list[dict[str, object]]:
        raise ValueError("no list")

    told.tasks = broken
    assert get(probes, "/debug/tasks")[0] == 500
    assert get(probes, "/livez")[0] == 200


def test_rubbish_and_clients_that_hang_up_do_no_harm(probes: Probes) -> None:
    """The server goes on after half a request, binary rubbish and a closed connection."""
    for rubbish in (b"", b"GET /li", b"\x16\x03\x01\xff\r\n\r\n", b"GET\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", probes.port), timeout=5) as wire:
            wire.sendall(rubbish)

    assert get(probes, "/livez")[0] == 200


def test_a_stopped_server_leaves_port_and_thread_free(told: Told) -> None:
    """Stopping twice is fine, and the same port can be had again at once."""
    threads = threading.active_count()
    probes = Probes(told.health, metrics=Metrics("night").exposition, tasks=list).start()
    port = probes.port
    probes.stop()
    probes.stop()
    with Probes(told.health, metrics=Metrics("night").exposition, tasks=list, port=port) as again:
        assert get(again, "/livez")[0] == 200

    assert probes.port == 0
    assert not [t for t in threading.enumerate() if t.name == "probes"]
    assert threads <= threading.active_count() + 1


def test_a_taken_port_is_told(probes: Probes, told: Told) -> None:
    """The error names address and port."""
    with pytest.raises(Unavailable, match=f"127.0.0.1:{probes.port}"):
        Probes(told.health, metrics=Metrics("night").exposition, tasks=list, port=probes.port).start()
