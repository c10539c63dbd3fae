"""The three timings of the slot protocol, and the rules between them."""

from dataclasses import dataclass

from background_tasks.errors import InvalidSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """How long a member is believed, when it stops believing itself, and how often it renews; seconds.

    Raises `InvalidSettings`, naming every fault, unless duration > renew_deadline > 2 x retry_period > 0.
    """

    duration: float = 12.0
    """Others may take a slot after they saw its holder's lease unchanged for so long."""
    renew_deadline: float = 8.0
    """Without a confirmed renewal for so long a member stops acting. The rest up to `duration` is for stopping."""
    retry_period: float = 3.0
    """A lease is renewed so often."""

    def __post_init__(self) -> None:
        faults = []
        if not 0 < self.retry_period < float("inf"):
            faults.append(f"retry_period is {self.retry_period:g} s; give a positive number of seconds")
        if not self.renew_deadline > 2 * self.retry_period:
            faults.append(
                f"renew_deadline is {self.renew_deadline:g} s; give more than 2 x retry_period "
                f"({2 * self.retry_period:g} s), so that one failed renewal is survived"
            )
        if not float("inf") > self.duration > self.renew_deadline:
            faults.append(
                f"duration is {self.duration:g} s; give more than renew_deadline ({self.renew_deadline:g} s), "
                "so that runs can stop before others may act"
            )
        if faults:
            raise InvalidSettings("lease: " + "; ".join(faults))
