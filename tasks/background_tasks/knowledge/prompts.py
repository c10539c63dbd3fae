"""The store of scheduled prompts: add, get, list, cancel. A prompt and its place in the queue change in one step.

Not here: firing (`catalogue.scheduled_prompt_tick`), deleting what has ended (`catalogue.scheduled_prompt_cleanup`).
"""

import uuid
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from background_tasks.errors import Refused
from background_tasks.knowledge.due_queue import AddMode, DueQueue, Guard, Record, text
from background_tasks.knowledge.keys import Keys, keys_of_run
from background_tasks.knowledge.prompt_record import Kind, Prompt, PromptDraft, Status, draft, read_prompt, to_fields
from background_tasks.services.redis import redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

QUEUE = "prompts"
READ_AT_ONCE = 500
"""Records read in one trip: a few milliseconds of the server's time."""
IS_ACTIVE = Guard(field="status", value=Status.ACTIVE)


class PromptStore:
    """Scheduled prompts below one key prefix. `now` None is the server's clock."""

    def __init__(self, redis: "Redis", keys: Keys | None = None) -> None:
        self._redis = redis
        self.keys = keys or keys_of_run()
        self.queue = DueQueue(redis, self.keys.queue(QUEUE))

    async def add(self, wanted: PromptDraft | Mapping[str, object], *, now: float | None = None) -> Prompt:
        """Schedule a prompt and return it as stored. An ended prompt of the same id is replaced.

        Raises `Refused` for faults of the draft, for an instant that has passed, for an id that is active.
        """
        asked = wanted if isinstance(wanted, PromptDraft) else draft(wanted)
        at = await self.queue.now() if now is None else now
        prompt = Prompt(
            **{**asked.model_dump(), "id": asked.id or uuid.uuid4().hex},
            status=Status.ACTIVE,
            next_at=_first(asked, at),
            created_at=at,
            updated_at=at,
        )
        record = Record(key=self.keys.prompt(prompt.id), fields=prompt.fields())
        if not await self.queue.add(prompt.id, prompt.next_at or at, AddMode.SET, record=record, refuse=IS_ACTIVE):
            raise Refused(f"id is {prompt.id!r}: a prompt of that id is active; cancel it first or choose another id")
        return prompt

    async def get(self, prompt_id: str) -> Prompt | None:
        """Return a prompt, or None when there is none. Raises `Refused` for a record that cannot be understood."""
        (fields,) = await self.read([prompt_id])
        if isinstance(fields, Exception):
            raise Refused(f"{self.keys.prompt(prompt_id)}: {fields}") from fields
        return read_prompt(prompt_id, fields) if fields else None

    async def read(self, ids: Sequence[str]) -> list[dict[str, str] | Exception]:
        """Read many hashes in one trip: fields, nothing for an absent one, the error for a key of another type."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for prompt_id in ids:
                await cast(Awaitable[object], pipe.hgetall(self.keys.prompt(prompt_id)))
            with redis_errors("read prompts"):
                answers = await pipe.execute(raise_on_error=False)
        return [
            answer if isinstance(answer, Exception) else {text(name): text(value) for name, value in answer.items()}
            for answer in answers
        ]

    async def list(self, *, owner: str | None = None, status: Status | None = None) -> list[Prompt]:
        """Return prompts, the soonest due first, then those that ended.

        A record that cannot be understood and still waits is left to the next tick, which ends it and tells its owner.
        """
        ids = await self._ids()
        found: list[Prompt] = []
        for start in range(0, len(ids), READ_AT_ONCE):
            chunk = ids[start : start + READ_AT_ONCE]
            found += [prompt for pair in zip(chunk, await self.read(chunk), strict=True) for prompt in _readable(*pair)]
        return [
            prompt for prompt in found if owner in (None, prompt.owner) and (status is None or prompt.status is status)
        ]

    async def cancel(self, prompt_id: str, *, now: float | None = None) -> bool:
        """End an active prompt, also one that is about to fire. False: there is no active one of that id."""
        at = await self.queue.now() if now is None else now
        change = to_fields({"status": Status.CANCELLED, "next_at": None, "updated_at": at})
        record = Record(key=self.keys.prompt(prompt_id), fields=change)
        return await self.queue.remove(prompt_id, record=record, require=IS_ACTIVE, now=at)

    async def _ids(self) -> Sequence[str]:
        queue = self.keys.queue(QUEUE)
        with redis_errors("list prompts"):
            rows = [await self._redis.zrange(key, 0, -1) for key in (queue.due, queue.inflight, queue.done)]
        return list(dict.fromkeys(text(id) for row in rows for id in row))


def _first(asked: PromptDraft, now: float) -> float:
    first = asked.first_instant(now)
    if first is None:
        raise Refused(f"expr is {asked.expr!r}: it is never due again")
    if asked.kind is Kind.ONCE and first < now - asked.max_lag_s:
        raise Refused(f"expr is {asked.expr!r}: it passed {now - first:.0f} s ago; give an instant to come")
    return first


def _readable(prompt_id: str, fields: Mapping[str, str] | Exception) -> tuple[Prompt, ...]:
    if isinstance(fields, Exception) or not fields:
        return ()
    try:
        return (read_prompt(prompt_id, fields),)
    except Refused:
        return ()
