"""What `make demo` adds to a session: a small conversation to begin with, and a count of what the tasks did with it.

Not here: the session (`up`). The conversation is a file of JSON lines: messages, facts that a person noted, reminders.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from background_tasks.domain.model import RunRecord
from background_tasks.errors import Refused, Unavailable
from background_tasks.knowledge.graph.model import EntityType, Tier
from background_tasks.knowledge.graph.schema import ensure_schema
from background_tasks.knowledge.graph.seed import Known, Thing, remember
from background_tasks.knowledge.graph.store import Graph
from background_tasks.knowledge.keys import Keys, json_key
from background_tasks.knowledge.prompts import PromptStore
from background_tasks.local.state import PoolState
from background_tasks.services.redis import redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from background_tasks.services.graph import KnowledgeGraph

PLATFORM, HOUSE = "demo", "house"
CHANNEL = json_key(PLATFORM, HOUSE)
DAY_MS = 86_400_000
REFRESH_S = 0.5


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(_Line):
    """Something that was said."""

    kind: Literal["message"]
    id: str
    at: str
    author: str
    text: str


class NotedFact(_Line):
    """Something that a person noted from the conversation, so many days ago."""

    kind: Literal["fact"]
    subject: str
    subject_type: EntityType
    relation: str
    object: str
    object_type: EntityType
    fact: str
    weight: float = Field(ge=0, le=1)
    days_ago: float = Field(ge=0)
    tier: Literal["core", "guild", "channel"]
    uses: int = Field(ge=0)


class Reminder(_Line):
    """A prompt to go off: once in so many seconds, or by cron."""

    kind: Literal["prompt"]
    id: str
    owner: str
    text: str
    in_seconds: float | None = None
    cron: str | None = None
    zone: str = "UTC"


type Line = Message | NotedFact | Reminder
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Message | NotedFact | Reminder, Field(discriminator="kind")])


def read_conversation(path: Path) -> Sequence[Line]:
    """Read the file. Raises `Refused` naming the line that does not fit."""
    lines = []
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        try:
            lines.append(_LINE.validate_json(text))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Refused(f"{path}:{number}: {where}: {first['msg']}; see the lines around it") from error
    return lines


async def seed(lines: Iterable[Line], redis: "Redis", graph: "KnowledgeGraph", now: float) -> None:
    """Store the conversation as an assistant would have: message log, graph, reminders."""
    kept = list(lines)
    await _store_messages([line for line in kept if isinstance(line, Message)], redis, now)
    await ensure_schema(Graph(graph))
    for fact in (line for line in kept if isinstance(line, NotedFact)):
        await remember(graph, [_known(fact)], at=round(now * 1000 - fact.days_ago * DAY_MS))
    prompts = PromptStore(redis, Keys())
    for reminder in (line for line in kept if isinstance(line, Reminder)):
        await prompts.add(_draft(reminder, now))


async def count_for_ever(redis: "Redis", state: PoolState) -> None:
    """Keep `state.happened` true until cancelled."""
    while True:
        try:
            state.happened = await count(redis, state.runs)
        except Unavailable as error:
            state.trouble = str(error)
        await asyncio.sleep(REFRESH_S)


async def count(redis: "Redis", runs: Iterable[RunRecord]) -> tuple[tuple[str, str], ...]:
    """Count prompts fired, lines streamed, edges decayed and pruned: (label, figure)."""
    keys = Keys()
    with redis_errors("count what the demo did"):
        fired = await redis.xlen(keys.inbound)
        streamed = await redis.xlen(keys.journal_buffer)
    decays = [run.report for run in runs if run.task.endswith("/kg-decay")]
    return (
        ("prompts fired", str(fired)),
        ("journal lines streamed", str(streamed)),
        ("edges decayed", _total(decays, "updated")),
        ("edges pruned", _total(decays, "deleted")),
    )


def _total(reports: Iterable[object], field: str) -> str:
    found = (report.get(field, 0) for report in reports if isinstance(report, dict))
    return str(sum(number for number in found if isinstance(number, int)))


async def _store_messages(messages: Sequence[Message], redis: "Redis", now: float) -> None:
    keys = Keys()
    with redis_errors("store the conversation"):
        async with redis.pipeline(transaction=False) as pipe:
            for message in messages:
                fields: dict[str, str] = message.model_dump(exclude={"kind"})
                pipe.hset(keys.message(PLATFORM, message.id), items=[word for pair in fields.items() for word in pair])
                pipe.xadd(keys.channel(PLATFORM, HOUSE, "log"), {"id": message.id, "data": json.dumps(fields)})
            pipe.zadd(keys.active_channels, {CHANNEL: now})
            await pipe.execute()


def _known(fact: NotedFact) -> Known:
    return Known(
        subject=Thing(name=fact.subject, type=fact.subject_type),
        kind=fact.relation,
        object=Thing(name=fact.object, type=fact.object_type),
        fact=fact.fact,
        weight=fact.weight,
        uses=fact.uses,
        tier=Tier[fact.tier.upper()],
    )


def _draft(reminder: Reminder, now: float) -> dict[str, object]:
    once = reminder.cron is None
    instant = datetime.fromtimestamp(now + (reminder.in_seconds or 0), UTC).isoformat()
    return {
        "id": reminder.id,
        "owner": reminder.owner,
        "channel": CHANNEL,
        "text": reminder.text,
        "kind": "once" if once else "cron",
        "expr": instant if once else reminder.cron,
        "tz": "UTC" if once else reminder.zone,
    }
