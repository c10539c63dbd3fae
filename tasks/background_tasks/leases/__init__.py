"""Member leases and slot tables over memory and Redis: read, compare-and-set, watch. Out: any policy."""
