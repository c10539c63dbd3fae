"""The stores in memory that tests use; they sit the same exam as those with a server behind them."""

from background_tasks.leases.memory import MemoryLeases
from background_tasks.sinks.memory import MemoryLedger, MemoryStatusSink

__all__ = ["MemoryLeases", "MemoryLedger", "MemoryStatusSink"]
