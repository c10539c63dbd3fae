"""A pod's environment becomes settings, or one error that names every fault, its value and its fix."""

import json
from pathlib import Path

import pytest

from background_tasks.engine.membership import LeaseSettings
from background_tasks.errors import InvalidSettings
from background_tasks.worker.cluster_settings import ClusterSettings, ModelEndpoint

POD = {"BGTASKS_POOL": "night", "BGTASKS_NAMESPACE": "shop", "BGTASKS_POD_NAME": "night-workers-7d4b9c-x2x9p"}


def read(**more: str) -> ClusterSettings:
    """Read the environment of a pod with more variables."""
    return ClusterSettings.from_env({**POD, **more}, unique="0a1b2c")


def test_a_pod_of_a_pool_with_defaults_needs_its_names_only() -> None:
    """Probes are reachable from outside, leases are Kubernetes', and two namespaces may share a Redis."""
    settings = read(HOME="/tmp")
    worker = settings.worker
    assert (worker.pool, worker.key, worker.member) == ("night", "shop/night", "night-workers-7d4b9c-x2x9p.0a1b2c")
    assert (worker.host, worker.port, worker.slots, worker.redis_url) == ("0.0.0.0", 8080, 16, None)
    assert (settings.namespace, settings.pod_uid, settings.kubeconfig) == ("shop", None, None)
    assert not settings.leases_in_redis
    assert worker.env == {"HOME": "/tmp"}


def test_the_pools_spec_is_read_whole() -> None:
    """It comes in the resource's own form."""
    spec = {
        "slots": 4,
        "lease": {"backend": "Redis", "duration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"},
        "taskModules": ["shop.tasks"],
        "flags": {"starwiki_enabled": True},
        "groups": [{"name": "reports", "maxConcurrent": 3}],
        "drainTimeout": "5m",
    }
    settings = read(BGTASKS_POOL_SPEC=json.dumps(spec), BGTASKS_REDIS_URL="redis://:secret@redis:6379/1")
    worker = settings.worker
    assert settings.leases_in_redis
    assert (worker.slots, worker.drain_timeout, worker.task_modules) == (4, 300, ("shop.tasks",))
    assert (worker.flags, worker.groups) == ({"starwiki_enabled": True}, {"reports": 3})
    assert worker.lease == LeaseSettings(duration=3, renew_deadline=2, retry_period=0.5)


def test_services_are_taken_from_variables_of_their_own() -> None:
    """Of a model: address, name and key; what is not configured is not there."""
    settings = read(
        BGTASKS_GRAPH_URL="redis://falkordb:6379",
        BGTASKS_GRAPH_NAME="mine",
        BGTASKS_CHAT_URL="https://models.example/v1",
        BGTASKS_CHAT_MODEL="small",
        BGTASKS_CHAT_API_KEY="k",
        BGTASKS_POD_UID="u-1",
        KUBECONFIG="/tmp/config",
    )
    assert (settings.worker.graph_url, settings.worker.graph_name) == ("redis://falkordb:6379", "mine")
    assert settings.chat == ModelEndpoint(url="https://models.example/v1", model="small", api_key="k")
    assert (settings.embeddings, settings.pod_uid, settings.kubeconfig) == (None, "u-1", Path("/tmp/config"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"BGTASKS_POOL": ""}, "BGTASKS_POOL is missing; set it to the pool's name"),
        ({"BGTASKS_NAMESPACE": "Shop:1"}, "BGTASKS_NAMESPACE is 'Shop:1', which is no name in Kubernetes"),
        ({"BGTASKS_POOL_SPEC": "{"}, "BGTASKS_POOL_SPEC is no JSON"),
        ({"BGTASKS_POOL_SPEC": "[" * 100_000}, "BGTASKS_POOL_SPEC is no JSON"),
        ({"BGTASKS_POOL_SPEC": "[]"}, "BGTASKS_POOL_SPEC is a list; give an object"),
        ({"BGTASKS_POOL_SPEC": '{"slots": 0}'}, "BGTASKS_POOL_SPEC: slots: 0 is too small; write 1 or more"),
        ({"BGTASKS_POOL_SPEC": '{"slot": 4}'}, "BGTASKS_POOL_SPEC: slot: .*slots"),
        ({"BGTASKS_POOL_SPEC": '{"lease": {"backend": "Redis"}}'}, "lease.backend: .*needs a Redis"),
        ({"BGTASKS_REDIS_URL": "http://redis"}, "BGTASKS_REDIS_URL is no address that begins with redis:// or"),
        ({"BGTASKS_REDIS_URL": ""}, "BGTASKS_REDIS_URL is no address"),
        ({"BGTASKS_GRAPH_URL": "redis://h:port"}, "BGTASKS_GRAPH_URL is no address"),
        ({"BGTASKS_CHAT_URL": "models.example"}, "BGTASKS_CHAT_URL is no address that begins with http://"),
        ({"BGTASKS_PORT": "many"}, "BGTASKS_PORT is 'many'; give 0 to 65535"),
    ],
)
def test_what_is_wrong_is_named_with_its_fix(more: dict[str, str], message: str) -> None:
    """Before anything is opened."""
    with pytest.raises(InvalidSettings, match=message):
        read(**more)


def test_all_faults_come_at_once_and_no_password_with_them() -> None:
    """One start tells all that is to be mended."""
    with pytest.raises(InvalidSettings) as raised:
        ClusterSettings.from_env(
            {"BGTASKS_REDIS_URL": "amqp://:hunter2@redis", "BGTASKS_POOL_SPEC": '{"slots": "x"}'}, unique="0a1b2c"
        )
    told = str(raised.value)
    missing = ("BGTASKS_POOL is", "BGTASKS_NAMESPACE is", "BGTASKS_POD_NAME is", "BGTASKS_REDIS_URL is", "slots: ")
    assert [name for name in missing if name not in told] == []
    assert "hunter2" not in told
