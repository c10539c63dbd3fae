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

# --- labels ------------------------------------------------------------------------------------------------------
POOL_LABEL = f"{GROUP}/pool"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
