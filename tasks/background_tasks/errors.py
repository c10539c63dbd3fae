"""The error tree: a class says what the caller can do next, never which library failed.

    BackgroundTaskError
    ├── Refused                 the input is wrong: change it; trying again does not help
    │   ├── InvalidSettings
    │   └── InvalidParams
    ├── Unavailable             an outside service did not answer: try again later, nothing was decided
    │   └── Ambiguous           it may or may not have happened: read before trying again
    ├── Superseded              somebody with a newer fence or version was first: drop the work
    └── NotLeader               this process may not act (a RuntimeError, as callers of the seed's API expect)

Foreign errors are translated at the door of `services`; above that room only these exist.
"""


class BackgroundTaskError(Exception):
    """Anything that this package raises on purpose."""


class Refused(BackgroundTaskError):
    """The input is wrong; the message names the field, the value and the fix."""


class InvalidSettings(Refused):
    """Settings that contradict each other or cannot be read; the message lists all faults at once."""


class InvalidParams(Refused):
    """`spec.params` that the task's own model refuses."""


class Unavailable(BackgroundTaskError):
    """An outside service did not answer. A failed read is this, never an empty answer."""

    retry_after: float | None = None
    """Seconds after which the service wants to be asked again, where it said so."""


class Ambiguous(Unavailable):
    """A write was sent and no answer came: it may have happened. Read before deciding."""


class Superseded(BackgroundTaskError):
    """A newer fence or version was there first; the effect was not applied."""


class NotLeader(BackgroundTaskError, RuntimeError):
    """This process does not hold what it needs to act."""
