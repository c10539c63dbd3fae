"""What stands above `spec`: name, namespace, annotations. Everything else of Kubernetes' metadata is let through.

Not here: labels and annotations of other people; only our own are read.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, model_validator

from background_tasks.api import names
from background_tasks.api.faults import Fault, raise_faults
from background_tasks.api.fields import Label, Maybe, Part, Subdomain
from background_tasks.domain.model import Pause

Count = Annotated[int, Field(strict=True, ge=0)]


def read_time(text: str) -> float | None:
    """Return the wall seconds of an RFC 3339 time with its offset, or None when it is none."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when.timestamp() if when.tzinfo is not None and "T" in text.upper() else None


class ObjectMeta(Part):
    """Kubernetes' object metadata: the fields we read, and those that a cluster adds."""

    name: Subdomain = Field(description="Name, unique in its namespace.")
    namespace: Label = Field(names.DEFAULT_NAMESPACE, description="Namespace of the resource.")
    labels: Maybe[dict[str, str]] = Field(None, description="Labels, kept as they are.", max_length=256)
    annotations: Maybe[dict[str, str]] = Field(None, description="Annotations; ours are read.", max_length=256)
    uid: Maybe[Annotated[str, Field(min_length=1, max_length=128)]] = Field(None, description="Set by a cluster.")
    generation: Maybe[Count] = Field(None, description="Set by a cluster.")
    creation_timestamp: Any = Field(None, description="Set by a cluster.")
    resource_version: Any = None
    managed_fields: Any = None
    owner_references: Any = None
    finalizers: Any = None
    deletion_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    generate_name: Any = None
    self_link: Any = None

    @property
    def created_at(self) -> float | None:
        """Wall seconds of the creation that a cluster recorded."""
        return read_time(self.creation_timestamp) if isinstance(self.creation_timestamp, str) else None

    @property
    def run_now(self) -> str | None:
        """The value of the run-now annotation."""
        return (self.annotations or {}).get(names.RUN_NOW)

    @property
    def pause(self) -> Pause | None:
        """The pause that the annotations ask for."""
        until = (self.annotations or {}).get(names.PAUSED_UNTIL)
        if until is None:
            return None
        by = (self.annotations or {}).get(names.PAUSED_BY, "")
        return Pause(until=None if until == names.FOREVER else read_time(until), by=by)

    @model_validator(mode="after")
    def _pause_can_be_read(self) -> "ObjectMeta":
        until = (self.annotations or {}).get(names.PAUSED_UNTIL)
        if until is not None and until != names.FOREVER and read_time(until) is None:
            fix = "write forever or a time with its offset, such as 2026-03-01T09:00:00Z"
            raise_faults([Fault(("annotations", names.PAUSED_UNTIL), f"is not a time; {fix}", until)])
        return self
