"""Which resources we touch, and their paths in the API. Not here: their contents."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as the API server spells it, for example `leases` of `coordination.k8s.io/v1`."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path. No namespace: of a cluster's own resource, or all namespaces at once."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        one = f"/{quote(name, safe='')}" if name else ""
        part = f"/{quote(subresource, safe='')}" if subresource else ""
        return f"{root}{inside}/{self.plural}{one}{part}"

    @property
    def api_version(self) -> str:
        """What a body's `apiVersion` says."""
        return f"{self.group}/{self.version}" if self.group else self.version


BACKGROUND_TASKS = Resource("background-tasks.dev", "v1alpha1", "backgroundtasks")
WORKER_POOLS = Resource("background-tasks.dev", "v1alpha1", "workerpools")
"""`services` and `api` do not know each other; a test compares these with `api.names`."""

CONFIG_MAPS = Resource("", "v1", "configmaps")
EVENTS = Resource("events.k8s.io", "v1", "events")
NAMESPACES = Resource("", "v1", "namespaces")
PODS = Resource("", "v1", "pods")
SECRETS = Resource("", "v1", "secrets")
SERVICES = Resource("", "v1", "services")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
POD_DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
HORIZONTAL_POD_AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects")
SERVICE_MONITORS = Resource("monitoring.coreos.com", "v1", "servicemonitors")
CUSTOM_RESOURCE_DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
