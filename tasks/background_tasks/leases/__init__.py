"""Member leases and slot tables over memory, Redis and Kubernetes: read, compare-and-set, watch. Out: any policy."""
