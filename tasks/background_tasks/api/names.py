"""Every group, kind, label, annotation and key of our resources, spelled once."""

GROUP = "background-tasks.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

TASK_KIND = "BackgroundTask"
POOL_KIND = "WorkerPool"
KINDS = (TASK_KIND, POOL_KIND)
LIST_KINDS = ("List", f"{TASK_KIND}List", f"{POOL_KIND}List")

DEFAULT_POOL = "default"
DEFAULT_NAMESPACE = "default"

# --- annotations: what people flip on a running task, and GitOps does not revert ---------------------------------
RUN_NOW = f"{GROUP}/run-now"
"""Any new value asks for one extra run."""
PAUSED_UNTIL = f"{GROUP}/paused-until"
"""An RFC 3339 time with its offset, or `forever`."""
PAUSED_BY = f"{GROUP}/paused-by"
FOREVER = "forever"
ANNOTATIONS = (RUN_NOW, PAUSED_UNTIL, PAUSED_BY)

FINGERPRINT = f"{GROUP}/fingerprint"
"""On an object of a pool: what the operator last asked for."""

# --- labels ------------------------------------------------------------------------------------------------------
POOL_LABEL = f"{GROUP}/pool"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
NAME_LABEL = "app.kubernetes.io/name"
PART_OF_LABEL = "app.kubernetes.io/part-of"
WORKER_APP = "background-tasks-worker"
"""`app.kubernetes.io/name` of a pool's objects, pods and member leases."""
PART_OF = "background-tasks"
OPERATOR_APP = "background-tasks-operator"
"""The operator's own name; also what its pool of one slot is called."""

# --- annotations of a member's Lease: what its fields cannot say --------------------------------------------------
LEASE_DURATION = f"{GROUP}/duration"
"""Seconds, with their fraction; `spec.leaseDurationSeconds` is the next whole number."""
LEASE_LEAVING = f"{GROUP}/leaving"
LEASE_REALM = f"{GROUP}/realm"
"""The realm of the slot table as this member read it last; absent: it has read none."""
UP_SINCE = f"{GROUP}/up-since"
"""When the pool came up, as this member knows it; seconds since the epoch."""

# --- who writes which fields (server-side apply) -----------------------------------------------------------------
OPERATOR_MANAGER = "background-tasks-operator"
WORKER_MANAGER = "background-tasks-worker"
HANDOVER_MANAGER = "background-tasks-handover"
"""Holds `replicas` of a Deployment for the moment between the operator and an autoscaler."""


# --- objects of a pool -------------------------------------------------------------------------------------------
def workers_name(pool: str) -> str:
    """Name the Deployment of a pool, and all else that exists for its workers."""
    return f"{pool}-workers"


def slot_table_name(pool: str) -> str:
    """Name the ConfigMap that holds a pool's slot table."""
    return f"{pool}-slots"
