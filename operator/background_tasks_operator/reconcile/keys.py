"""What is reconciled, by name: a pool with all its objects, one task's acceptance, or a kind that was listed again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class PoolKey:
    """A WorkerPool and the objects made of it, whether it exists or not."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"pool {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class TaskKey:
    """The acceptance of a BackgroundTask."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"task {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Recheck:
    """A kind that was listed anew: what was deleted while nobody watched has no event and is looked for."""

    kind: str

    def __str__(self) -> str:
        return f"recheck of {self.kind}"


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """One object of a pool."""

    kind: str
    namespace: str
    name: str


type Key = PoolKey | TaskKey | Recheck
