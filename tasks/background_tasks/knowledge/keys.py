"""Every Redis key of the catalogue's tasks, spelled once. The prefix is the setting `SG_KEY_PREFIX`, default `sg:`.

Ids may hold ':' and any character: an id is always the last part of a key, and several ids in one part are a JSON
array. Not here: what is stored below a key (the stores), the runtime's own keys (`leases`, `sinks`).
"""

import json
from dataclasses import dataclass

from background_tasks.knowledge.context import setting

PREFIX_SETTING = "SG_KEY_PREFIX"
DEFAULT_PREFIX = "sg:"
FIRED = "fired:"
"""What `prompt:` + this begins is an occurrence's flag; no prompt's id may begin so."""


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The five keys of one due-queue."""

    due: str
    inflight: str
    claims: str
    seq: str
    done: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys below one prefix."""

    prefix: str = DEFAULT_PREFIX

    def queue(self, name: str) -> QueueKeys:
        """Return the keys of a due-queue: `prompts`, `hb`, `desc`, `embed`."""
        base = f"{self.prefix}{name}:"
        return QueueKeys(f"{base}due", f"{base}inflight", f"{base}claims", f"{base}seq", f"{base}done")

    @property
    def prompt_prefix(self) -> str:
        """What every prompt's record begins with, and the flags of occurrences too."""
        return f"{self.prefix}prompt:"

    @property
    def fired_prefix(self) -> str:
        """What every occurrence's flag begins with."""
        return f"{self.prefix}prompt:{FIRED}"

    def prompt(self, prompt_id: str) -> str:
        """Hash: one scheduled prompt."""
        return f"{self.prompt_prefix}{prompt_id}"

    def fired(self, occurrence: str) -> str:
        """Flag, 7 days: this occurrence was fired."""
        return f"{self.fired_prefix}{occurrence}"

    @property
    def inbound(self) -> str:
        """Stream: what the assistant is to read next."""
        return f"{self.prefix}stream:inbound"

    def seen(self, group: str, occurrence: str) -> str:
        """Flag, 7 days: a group's consumer has handled this occurrence."""
        return f"{self.prefix}inbound:seen:{json_key(group, occurrence)}"

    @property
    def runs(self) -> str:
        """Stream: task reports."""
        return f"{self.prefix}runs"

    def events(self, topic: str) -> str:
        """Pub/Sub channel of a topic."""
        return f"{self.prefix}events:{topic}"

    def dead_letters(self, task: str) -> str:
        """Stream: items that a task gave up, with error."""
        return f"{self.prefix}dlq:{task}"

    def run(self, task: str) -> str:
        """Hash: last success and lease of a task."""
        return f"{self.prefix}run:{task}"

    def cursors(self, task: str) -> str:
        """Hash: cursors of a task that writes no graph; fields are JSON arrays."""
        return f"{self.prefix}cur:{task}"

    @property
    def journal_buffer(self) -> str:
        """Stream: the last log lines."""
        return f"{self.prefix}journal:buf"

    def message(self, platform: str, message_id: str) -> str:
        """Hash, 90 days: one message."""
        return f"{self.prefix}msg:{platform}:{message_id}"

    def channel(self, platform: str, channel: str, part: str) -> str:
        """`log` (stream), `time` (zset), `gaps`, `policy` (hashes) of a channel. A platform's name holds no ':'."""
        return f"{self.prefix}chan:{platform}:{channel}:{part}"

    def channel_of(self, key: str, part: str) -> tuple[str, str] | None:
        """Read (platform, channel) back from a key of that part; None for another key."""
        start, end = f"{self.prefix}chan:", f":{part}"
        if not (key.startswith(start) and key.endswith(end)):
            return None
        platform, separator, channel = key[len(start) : -len(end)].partition(":")
        return (platform, channel) if separator else None

    @property
    def active_channels(self) -> str:
        """Sorted set: JSON array [platform, channel], by last ingest."""
        return f"{self.prefix}chan:active"

    def summary(self, platform: str, channel: str) -> str:
        """Hash: a channel's rolling summary."""
        return f"{self.prefix}sum:{platform}:{channel}"

    def awareness(self, platform: str, channel: str) -> str:
        """Hash: the heartbeat's notes about a channel."""
        return f"{self.prefix}aware:{platform}:{channel}"

    @property
    def embed_queue(self) -> str:
        """Stream: what waits for an embedding."""
        return f"{self.prefix}embed:queue"

    def embed_asked(self, mark: int) -> str:
        """Set, 14 days: what one pass of the maintenance has put into the queue."""
        return f"{self.prefix}embed:asked:{mark}"

    def lease(self, *parts: str) -> str:
        """String: a short lease, named by its parts; more than one part is a JSON array after the first."""
        kind, *rest = parts
        name = "" if not rest else f":{rest[0]}" if len(rest) == 1 else f":{json_key(*rest)}"
        return f"{self.prefix}lease:{kind}{name}"


def json_key(*parts: str | int) -> str:
    """Join parts so that no two lists of parts give one text, whatever the parts hold."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def keys_of_run() -> Keys:
    """Return the keys below the prefix that the run's settings name."""
    return Keys(setting(PREFIX_SETTING, DEFAULT_PREFIX))
