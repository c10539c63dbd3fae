"""What one worker process is told: frozen, checked once, all faults at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from background_tasks.domain.model import EMPTY, MemberId
from background_tasks.engine.membership import LeaseSettings
from background_tasks.errors import InvalidSettings

DEFAULT_SLOTS = 16
DEFAULT_DRAIN_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """One worker of one pool."""

    pool: str = "default"
    member: MemberId
    """Never used twice: a restarted worker is another member."""
    redis_url: str | None = None
    """Leases, ledger, status; also the service `redis` of tasks. None: a pool in a cluster that has none."""
    store_key: str | None = None
    """How the pool is called in its stores, where its name alone would not do; a cluster's pool is `namespace/name`."""
    graph_url: str | None = None
    """The service `kg_manager`; None: tasks that need it are `MissingService`."""
    graph_name: str = "knowledge"
    task_modules: tuple[str, ...] = ()
    flags: Mapping[str, object] = field(default=EMPTY)
    groups: Mapping[str, int] = field(default_factory=dict)
    slots: int = DEFAULT_SLOTS
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    drain_timeout: float = DEFAULT_DRAIN_TIMEOUT_S
    host: str = "127.0.0.1"
    port: int = 0
    """Probes and metrics; 0 takes any free port."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Settings of tasks by name (`RunContext.settings`): the process environment, or what stands for it."""

    @property
    def key(self) -> str:
        """How the pool is called in its stores."""
        return self.store_key or self.pool

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {value!r}; {fix}"
            for name, value, wrong, fix in (
                ("slots", self.slots, not 1 <= self.slots <= 4096, "give 1 to 4096"),
                ("port", self.port, not 0 <= self.port <= 65535, "give 0 to 65535"),
                ("drain_timeout", self.drain_timeout, self.drain_timeout < 0, "give 0 or more seconds"),
                ("pool", self.pool, not self.pool, "give the pool's name"),
                ("member", self.member, not self.member, "give a name that no other worker has"),
            )
            if wrong
        ]
        if faults:
            raise InvalidSettings("; ".join(faults))
