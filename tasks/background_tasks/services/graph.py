"""The wire to FalkorDB: one graph, queries without hidden retries, one door for foreign errors.

Not here: what the graph means (`knowledge.graph`). The client's own front object is not used: building it makes a
blocking INFO call on the loop, and its retries would send a slow write again. The client's `timeout=` stops reads
only, so the limit of a query is the server's (TIMEOUT_DEFAULT, TIMEOUT_MAX), which rolls the query back whole.
"""

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from redis import exceptions
from redis.asyncio import Redis

from background_tasks.errors import Ambiguous, BackgroundTaskError, Refused, Superseded, Unavailable
from background_tasks.services.redis import connect as connect_redis

if TYPE_CHECKING:
    # The client ships no types.
    from falkordb.asyncio.graph import AsyncGraph  # type: ignore[import-untyped]
    from falkordb.asyncio.query_result import QueryResult  # type: ignore[import-untyped]

GRAPH_NAME = "knowledge"
CALL_TIMEOUT_S = 65.0
"""Longer than the server's own limit (60 s): the server ends a query first, and says that it was rolled back."""
CONNECTIONS = 64
COPY_POLL_S = 0.1
COPY_POLLS = 600
COPY_TRIES = 10
"""Whatever the server tells of its children: one that has ended is reaped a moment later."""
MIB = 1024 * 1024

_NO_CHILD = "could not fork"
_CHILDREN = ("module_fork_in_progress", "rdb_bgsave_in_progress", "aof_rewrite_in_progress")
_TRY_LATER = (
    "Query timed out",  # rolled back whole
    "Max pending queries exceeded",
    _NO_CHILD,  # memory is short, or another child lives
    "Query's mem consumption exceeded capacity",
    "OOM ",
    "LOADING",
    "MISCONF",
    "READONLY",
    "CLUSTERDOWN",
)
_SOMEBODY_WAS_FIRST = "unique constraint violation"


class KnowledgeGraph:
    """One graph of a FalkorDB server. Each query is one transaction: it happens whole or not at all."""

    def __init__(self, redis: Redis, graph: "AsyncGraph") -> None:
        self._redis = redis
        self._graph = graph

    def beside(self, name: str) -> "KnowledgeGraph":
        """Return another graph of the same server, over the same connections."""
        return KnowledgeGraph(self._redis, type(self._graph)(self._redis, name))

    @property
    def name(self) -> str:
        """The graph's name, which is its Redis key too."""
        return str(self._graph.name)

    async def query(self, cypher: str, params: Mapping[str, object] | None = None) -> "QueryResult":
        """Run one query; `result_set` of the answer is a list of rows.

        Raises `Superseded` when a unique constraint says that somebody was first, `Ambiguous` when no answer came,
        `Unavailable` when the server cannot now (a timed-out query was rolled back), `Refused` for a faulty query.
        """
        with graph_errors("query"):
            return await self._graph.query(cypher, dict(params) if params else None)

    async def memory_mib(self) -> float:
        """Return what the graph takes in the server's memory, by `GRAPH.MEMORY USAGE`, in MiB."""
        with graph_errors("memory usage"):
            told = await self._command("GRAPH.MEMORY", "USAGE", self.name)
        pairs = told.items() if isinstance(told, Mapping) else zip(told[::2], told[1::2], strict=True)
        return float(dict(pairs)["total_graph_sz_mb"])

    async def free_mib(self) -> float:
        """Return how much the server may still take, in MiB: up to its `maxmemory`, else up to the machine's memory."""
        with graph_errors("memory info"):
            memory = cast(Mapping[str, int], await self._redis.info("memory"))
        if memory.get("maxmemory"):
            return (memory["maxmemory"] - memory["used_memory"]) / MIB
        return (memory["total_system_memory"] - memory.get("used_memory_rss", memory["used_memory"])) / MIB

    async def copy_to(self, name: str) -> None:
        """Copy the graph, constraints and indexes too, to a new name. Raises `Refused` when the name is taken.

        The server copies in a child process and has one child at a time: another copy or a save is waited for.
        """
        for tries in itertools.count(1):
            if await self._copied(name):
                return
            may_wait = tries < COPY_TRIES or (tries < COPY_POLLS and await self._child_lives())
            if not may_wait:
                raise Unavailable(f"graph: copy graph: {_NO_CHILD}: memory is short; nothing was changed")
            await asyncio.sleep(COPY_POLL_S)

    async def _copied(self, name: str) -> bool:
        """Try to copy. False: the server could start no child."""
        with graph_errors("copy graph"):
            try:
                await self._command("GRAPH.COPY", self.name, name)
            except exceptions.ResponseError as error:
                if _NO_CHILD in str(error):
                    return False
                raise
        return True

    async def _child_lives(self) -> bool:
        """Say whether the server has a child now: a copy, a save, a rewrite of its log."""
        told = cast(Mapping[str, int], await self._redis.info("persistence"))
        return any(told.get(name) for name in _CHILDREN)

    async def graphs(self) -> list[str]:
        """Return the names of the server's graphs, sorted."""
        with graph_errors("list graphs"):
            return sorted(await self._command("GRAPH.LIST"))

    async def drop(self, name: str) -> bool:
        """Delete a graph of that name. False: there was none."""
        if name not in await self.graphs():
            return False
        with graph_errors("delete graph"):
            await self._command("GRAPH.DELETE", name)
        return True

    async def constrain(
        self, kind: Literal["NODE", "RELATIONSHIP"], label: str, prop: str, *, unique: bool = True
    ) -> None:
        """Create the unique constraint, or with `unique=False` drop it. It needs its index, and starts PENDING."""
        verb = "CREATE" if unique else "DROP"
        with graph_errors(f"constraint {label}.{prop}"):
            await self._command(
                "GRAPH.CONSTRAINT", verb, self.name, "UNIQUE", kind, label, "PROPERTIES", 1, prop
            )  # fmt: skip

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _command(self, *words: str | int) -> Any:
        return await cast(Any, self._redis).execute_command(*words)


def connect(url: str, *, graph: str = GRAPH_NAME, call_timeout: float = CALL_TIMEOUT_S) -> KnowledgeGraph:
    """Return a graph behind `redis://`, `rediss://`, `falkor://` or `unix://`; it connects when first used.

    Raises `Refused` for a URL that cannot be read, an empty name, or where the client library is not installed.
    """
    if not graph:
        raise Refused("the graph's name is empty; give one, as in `knowledge`")
    try:
        from falkordb.asyncio.graph import AsyncGraph
    except ImportError as error:
        raise Refused("no FalkorDB client here: install `background-tasks[catalogue]`") from error
    scheme, separator, rest = url.partition("://")
    redis = connect_redis(
        f"{scheme.replace('falkors', 'rediss').replace('falkor', 'redis')}{separator}{rest}",
        call_timeout=call_timeout,
        connections=CONNECTIONS,
    )
    return KnowledgeGraph(redis, AsyncGraph(redis, graph))


@contextmanager
def graph_errors(doing: str) -> Iterator[None]:
    """Translate the client's errors: `doing` names the attempt, as in "copy graph"."""
    try:
        yield
    except BackgroundTaskError:
        raise
    except exceptions.TimeoutError as error:
        raise Ambiguous(f"graph: {doing}: no answer in time; it may have happened") from error
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise Unavailable(f"graph: {doing}: {error}; check user, password and ACL of the URL") from error
    except exceptions.ConnectionError as error:
        raise _broken(doing, error) from error
    except exceptions.ResponseError as error:
        raise _answered(doing, str(error)) from error
    except UnicodeEncodeError as error:
        raise Refused(f"graph: {doing}: a text that is not Unicode: {error}; clean it before it is written") from error
    except (exceptions.RedisError, OSError) as error:
        raise Unavailable(f"graph: {doing}: {type(error).__name__}: {error}") from error


def _broken(doing: str, error: exceptions.ConnectionError) -> BackgroundTaskError:
    """Tell a connection that never stood (nothing was sent) from one that broke (a write may have happened)."""
    text = str(error)
    if "connecting to" in text or "Too many connections" in text or isinstance(error, exceptions.BusyLoadingError):
        return Unavailable(f"graph: {doing}: {text}")
    return Ambiguous(f"graph: {doing}: {text}; it may have happened")


def _answered(doing: str, text: str) -> BackgroundTaskError:
    """Tell what the server's refusal means for the caller."""
    if _SOMEBODY_WAS_FIRST in text:
        return Superseded(f"graph: {doing}: {text}")
    if any(sign in text for sign in _TRY_LATER):
        return Unavailable(f"graph: {doing}: {text}; nothing was changed")
    return Refused(f"graph: {doing}: {text}")
