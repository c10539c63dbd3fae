"""What the client asks an API server, and what its answers and its failures become."""

from collections.abc import Callable
from pathlib import Path

import pytest

from background_tasks.api import names
from background_tasks.errors import Ambiguous, BackgroundTaskError, Refused, Unavailable
from background_tasks.services.kubernetes import access
from background_tasks.services.kubernetes.client import Cluster, open_cluster
from background_tasks.services.kubernetes.errors import AlreadyExists, Conflict, Forbidden, Gone, NotFound, status_error
from background_tasks.services.kubernetes.lines import Body
from background_tasks.services.kubernetes.resources import BACKGROUND_TASKS, CONFIG_MAPS, LEASES, WORKER_POOLS
from tests.stubs.scripted_api import ScriptedApi

MAP: Body = {"metadata": {"name": "m", "namespace": "n", "resourceVersion": "7"}}


def page(*named: str, version: str = "9", more: str = "") -> Body:
    """Make one page of a list of ConfigMaps."""
    items = [{"metadata": {"name": name}} for name in named]
    return {
        "kind": "ConfigMapList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version, "continue": more},
        "items": items,
    }


def listed(body: Body) -> list[str]:
    """Name the objects of a list."""
    return [item["metadata"]["name"] for item in body["items"]]


def rotate(token: Path) -> None:
    """Put a new token in the old one's place."""
    token.write_text("second")


def test_our_resources_are_those_of_the_api() -> None:
    """Group and version, which `services` may not look up, are those of `api.names`."""
    assert {(one.group, one.version) for one in (BACKGROUND_TASKS, WORKER_POOLS)} == {(names.GROUP, names.VERSION)}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (CONFIG_MAPS.path("n", "m"), "/api/v1/namespaces/n/configmaps/m"),
        (LEASES.path(), "/apis/coordination.k8s.io/v1/leases"),
        (LEASES.path("n/../x", "a?b"), "/apis/coordination.k8s.io/v1/namespaces/n%2F..%2Fx/leases/a%3Fb"),
        (WORKER_POOLS.path("n", "p", "status"), f"/apis/{names.API_VERSION}/namespaces/n/workerpools/p/status"),
    ],
)
def test_a_path_names_one_object(path: str, expected: str) -> None:
    """The core group has a root of its own, and no name leads elsewhere."""
    assert path == expected


# --- lists -------------------------------------------------------------------------------------------------------


async def test_a_list_is_read_by_pages_as_of_its_first(cluster: Cluster, api: ScriptedApi) -> None:
    """All pages make one list; the version is the first one's, and every object says what it is."""
    api.answers(page("a", "b", more="t"), page("c", version="12"))

    body = await cluster.list(CONFIG_MAPS, namespace="n", label_selector="x=y")

    assert [asked.query for asked in api.asked] == [
        {"labelSelector": "x=y", "limit": "500"},
        {"labelSelector": "x=y", "limit": "500", "continue": "t"},
    ]
    assert listed(body) == ["a", "b", "c"]
    assert body["metadata"] == {"resourceVersion": "9"}
    assert {(item["kind"], item["apiVersion"]) for item in body["items"]} == {("ConfigMap", "v1")}


async def test_a_list_whose_pages_expire_begins_again(cluster: Cluster, api: ScriptedApi) -> None:
    """410 while pages are turned costs a new beginning, and no object is told twice."""
    api.answers(page("a", more="t"))
    api.fails(410, "The provided continue parameter is too old")
    api.answers(page("a", version="20", more="u"), page("b"))

    assert listed(await cluster.list(CONFIG_MAPS)) == ["a", "b"]


async def test_a_list_whose_pages_always_expire_is_asked_for_whole(cluster: Cluster, api: ScriptedApi) -> None:
    """A cluster that compacts faster than we turn pages still tells what there is."""
    for _ in range(3):
        api.answers(page("a", more="t"))
        api.fails(410)
    api.answers(page("a", "b"))

    assert listed(await cluster.list(CONFIG_MAPS)) == ["a", "b"]
    assert "limit" not in api.asked[-1].query


@pytest.mark.parametrize(
    "garbage", ["<html>", [], {}, {"metadata": {}}, page("a") | {"items": 7}, page("a") | {"items": [{"metadata": 1}]}]
)
async def test_an_unreadable_list_is_no_empty_one(cluster: Cluster, api: ScriptedApi, garbage: object) -> None:
    """What a proxy says in the API server's place is a failed read."""
    api.answers(garbage)

    with pytest.raises(Unavailable, match="cannot be read"):
        await cluster.list(CONFIG_MAPS)


# --- writes ------------------------------------------------------------------------------------------------------


async def test_every_write_has_its_verb(cluster: Cluster, api: ScriptedApi) -> None:
    """Create, replace, apply, merge and delete are asked for as the API wants them."""
    api.answers(*[MAP] * 5)

    await cluster.create(CONFIG_MAPS, MAP)
    await cluster.replace(CONFIG_MAPS, MAP)
    await cluster.apply(CONFIG_MAPS, MAP, manager="me", subresource="status", force=False)
    await cluster.merge(CONFIG_MAPS, "m", {"data": None}, namespace="n")
    await cluster.delete(CONFIG_MAPS, "m", namespace="n", uid="u")

    home = "/api/v1/namespaces/n/configmaps"
    assert [(asked.method, asked.path, asked.headers["Content-Type"]) for asked in api.asked] == [
        ("POST", home, "application/json"),
        ("PUT", f"{home}/m", "application/json"),
        ("PATCH", f"{home}/m/status", "application/apply-patch+yaml"),
        ("PATCH", f"{home}/m", "application/merge-patch+json"),
        ("DELETE", f"{home}/m", "application/json"),
    ]
    assert api.asked[2].query == {"fieldManager": "me", "force": "false"}
    assert api.asked[3].body == {"data": None}
    assert api.asked[4].body["preconditions"] == {"uid": "u"}


async def test_deleting_what_is_absent_is_fine(cluster: Cluster, api: ScriptedApi) -> None:
    """The end is reached already."""
    api.fails(404)

    await cluster.delete(CONFIG_MAPS, "m", namespace="n")


# --- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        pytest.param('backgroundtasks "a" is forbidden: User "w" cannot patch resource', Forbidden, id="rights"),
        pytest.param('admission webhook "x" denied the request: too long', Refused, id="webhook"),
        pytest.param('admission webhook "x" denied the request without explanation', Refused, id="silent webhook"),
        pytest.param("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", Refused, id="policy"),
    ],
)
def test_what_is_denied_to_one_object_is_no_lack_of_rights(told: str, kind: type[BackgroundTaskError]) -> None:
    """Both come with one code and one reason; only the words differ."""
    assert type(status_error("apply", 403, {"message": told, "reason": "Forbidden"}, write=True)) is kind


@pytest.mark.parametrize(
    ("code", "reason", "read", "write"),
    [
        pytest.param(400, "BadRequest", Refused, Refused, id="a bad request"),
        pytest.param(403, "Forbidden", Forbidden, Forbidden, id="not allowed"),
        pytest.param(404, "NotFound", NotFound, NotFound, id="not there"),
        pytest.param(409, "Conflict", Conflict, Conflict, id="somebody was first"),
        pytest.param(409, "AlreadyExists", AlreadyExists, AlreadyExists, id="the name is taken"),
        pytest.param(410, "Expired", Gone, Gone, id="too old"),
        pytest.param(422, "Invalid", Refused, Refused, id="invalid"),
        pytest.param(429, "TooManyRequests", Unavailable, Unavailable, id="too many requests"),
        pytest.param(500, "InternalError", Unavailable, Ambiguous, id="an error inside, perhaps after the write"),
        pytest.param(503, "ServiceUnavailable", Unavailable, Unavailable, id="not serving"),
        pytest.param(504, "Timeout", Unavailable, Ambiguous, id="the store did not answer the server"),
    ],
)
async def test_a_failure_says_what_to_do_next_in_the_words_of_the_api(
    cluster: Cluster,
    api: ScriptedApi,
    *,
    code: int,
    reason: str,
    read: type[BackgroundTaskError],
    write: type[BackgroundTaskError],
) -> None:
    """The class tells the caller what to do, the sentence what was tried and why not."""
    for _ in range(2):
        api.fails(code, "the reason why", reason=reason)

    with pytest.raises(BackgroundTaskError, match="get namespaces/n/configmaps/m: the reason why") as reading:
        await cluster.get(CONFIG_MAPS, "m", namespace="n")
    with pytest.raises(BackgroundTaskError, match="put namespaces/n/configmaps/m: the reason why") as writing:
        await cluster.replace(CONFIG_MAPS, MAP)

    assert (type(reading.value), type(writing.value)) == (read, write)


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        pytest.param("7", None, 7.0, id="the header"),
        pytest.param(None, {"retryAfterSeconds": 3}, 3.0, id="the Status"),
        pytest.param("soon", None, None, id="no number"),
        pytest.param("-1", None, None, id="before now"),
        pytest.param("inf", None, None, id="never"),
        pytest.param("86400", None, 120.0, id="a header's slip does not silence us for a day"),
        pytest.param(None, [], None, id="nothing"),
    ],
)
async def test_a_busy_server_says_when_to_come_back(
    cluster: Cluster, api: ScriptedApi, *, header: str | None, details: object, seconds: float | None
) -> None:
    """429 carries Retry-After, by header or in the Status."""
    headers = {"Retry_After": header} if header else {}
    api.answers({"message": "busy", "details": details}, status=429, **headers)

    with pytest.raises(Unavailable) as caught:
        await cluster.get(CONFIG_MAPS, "m", namespace="n")

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("fault", ["cuts", "hangs"])
async def test_a_write_without_an_answer_is_ambiguous_and_never_repeated(
    cluster: Cluster, api: ScriptedApi, fault: str
) -> None:
    """It may have happened, also on a connection that was kept from an earlier call."""
    api.answers(MAP)
    getattr(api, fault)()
    await cluster.get(CONFIG_MAPS, "m", namespace="n")

    with pytest.raises(Ambiguous, match="it may have happened"):
        await cluster.replace(CONFIG_MAPS, MAP)

    assert [asked.method for asked in api.asked] == ["GET", "PUT"]


@pytest.mark.parametrize("fault", ["cuts", "hangs"])
async def test_a_read_without_an_answer_decided_nothing(cluster: Cluster, api: ScriptedApi, fault: str) -> None:
    """It is plainly unavailable."""
    getattr(api, fault)()

    with pytest.raises(Unavailable) as caught:
        await cluster.get(CONFIG_MAPS, "m", namespace="n")

    assert type(caught.value) is Unavailable


async def test_a_write_that_never_left_is_not_ambiguous(kubeconfig: Callable[[str], Path]) -> None:
    """Without a connection nothing can have happened."""
    async with open_cluster(kubeconfig=kubeconfig("http://127.0.0.1:1")) as cluster:
        with pytest.raises(Unavailable, match="no connection") as caught:
            await cluster.replace(CONFIG_MAPS, MAP)

    assert type(caught.value) is Unavailable


# --- who we are --------------------------------------------------------------------------------------------------


async def test_a_rotated_token_is_read_again(cluster: Cluster, api: ScriptedApi, token: Path) -> None:
    """A token that expired costs one more request, and no error."""
    rotate(token)
    api.fails(401, "Unauthorized")
    api.answers(MAP)

    assert await cluster.replace(CONFIG_MAPS, MAP) == MAP
    assert [asked.headers["Authorization"] for asked in api.asked] == ["Bearer first", "Bearer second"]


async def test_wrong_credentials_are_refused_after_a_second_look(cluster: Cluster, api: ScriptedApi) -> None:
    """They are not tried for ever."""
    api.fails(401, "Unauthorized")
    api.fails(401, "Unauthorized")

    with pytest.raises(Refused, match="Unauthorized"):
        await cluster.get(CONFIG_MAPS, "m", namespace="n")

    assert len(api.asked) == 2


async def test_a_pod_is_who_its_service_account_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server, namespace and token are the pod's own; a token that was rotated counts at the next look."""
    for name, text in {"token": "one", "namespace": "mine\n", "ca.crt": "some"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(access, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")

    found = await access.find_access(None, None)
    before = await found.configuration.get_api_key_with_prefix("BearerToken")
    (tmp_path / "token").write_text("two")
    await found.renew()

    assert (found.configuration.host, found.namespace) == ("https://[fd00::1]:6443", "mine")
    assert before == "bearer one"
    assert await found.configuration.get_api_key_with_prefix("BearerToken") == "bearer two"


@pytest.mark.parametrize(
    ("text", "context"),
    [
        pytest.param(None, None, id="no file"),
        pytest.param("", None, id="an empty file"),
        pytest.param("[1", None, id="no YAML"),
        pytest.param("kind: Config", None, id="no contexts"),
        pytest.param("good", "other", id="no such context"),
    ],
)
async def test_a_kubeconfig_that_names_no_cluster_is_refused(
    tmp_path: Path, kubeconfig: Callable[[str], Path], text: str | None, context: str | None
) -> None:
    """The sentence says what to check."""
    path = tmp_path / "none"
    if text is not None:
        path = kubeconfig("http://127.0.0.1:1")
        path.write_text(path.read_text() if text == "good" else text)

    with pytest.raises(Refused, match="; check the kubeconfig"):
        async with open_cluster(kubeconfig=path, context=context):
            pass


async def test_the_namespace_is_the_contexts(cluster: Cluster) -> None:
    """A kubeconfig's context says where we live."""
    assert cluster.namespace == "here"
