"""What holds for every pool that anybody may write."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from background_tasks.api import names
from background_tasks.api.pool import PoolSpec
from background_tasks_operator.plan import plan
from background_tasks_operator.plan.deployment import deployment
from background_tasks_operator.plan.environment import OURS, environment
from background_tasks_operator.plan.fingerprint import fingerprint
from background_tasks_operator.plan.model import Capability, DeploymentState, Observed, PoolFacts
from background_tasks_operator.settings import Settings

SETTINGS = Settings(image="background-tasks:0.1.0")

texts = st.text(max_size=6)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
words = st.sampled_from((*sorted(OURS), "tmp", "bgtasks-tmp", "worker", "A")) | anything
keys = st.sampled_from(("name", "value", "mountPath", "labelSelector", "topologyKey", "securityContext"))
foreign = st.dictionaries(keys, words | st.just("/tmp"), max_size=3)
named_like_ours = st.fixed_dictionaries({"name": st.sampled_from((*sorted(OURS), "bgtasks-tmp"))})
manifests = st.lists(foreign | named_like_ours, max_size=3)
label_names = texts | st.sampled_from((names.NAME_LABEL, names.POOL_LABEL, names.MANAGED_BY_LABEL, "team"))
label_maps = st.dictionaries(label_names, texts, max_size=3)
urls = st.text(alphabet="a$()/:@", min_size=1, max_size=8)
service = st.one_of(st.builds(lambda url: {"url": url}, urls), st.just({"secretRef": {"name": "s", "key": "k"}}))
durations = st.sampled_from(("0s", "1ms", "90s", "1h30m", "3650d"))
templates = st.fixed_dictionaries(
    {},
    optional={
        "labels": label_maps,
        "annotations": label_maps,
        "serviceAccountName": st.just("theirs"),
        "env": manifests,
        "envFrom": manifests,
        "volumes": manifests,
        "volumeMounts": manifests,
        "resources": st.dictionaries(st.sampled_from(("requests", "limits", "claims")), anything, max_size=3),
        "nodeSelector": label_maps,
        "tolerations": manifests,
        "affinity": foreign,
        "topologySpreadConstraints": manifests,
        "priorityClassName": st.just("low"),
    },
)
specs = st.fixed_dictionaries(
    {"template": templates},
    optional={
        "image": st.just("mine:1"),
        "imagePullSecrets": manifests,
        "replicas": st.integers(0, 1000),
        "slots": st.integers(8, 1024),
        "taskModules": st.just(["my_app.tasks"]),
        "services": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("redis", "knowledgeGraph", "chatModel", "embeddings"), service)
        ),
        "flags": st.dictionaries(texts, st.booleans() | st.integers() | texts, max_size=3),
        "autoscaling": st.fixed_dictionaries(
            {"maxReplicas": st.integers(1, 8)},
            optional={"engine": st.sampled_from(("HPA", "KEDA")), "scaleDownDelay": durations},
        ),
        "drainTimeout": durations,
        "monitoring": st.fixed_dictionaries({"serviceMonitor": st.booleans(), "rules": st.booleans()}),
    },
)
pools = st.builds(
    lambda name, spec: PoolFacts(namespace="demo", name=name, uid="11aa", spec=PoolSpec.model_validate(spec)),
    st.from_regex(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True),
    specs,
)
observations = st.builds(
    Observed,
    deployment=st.none() | st.builds(DeploymentState, wanted=st.integers(0, 9), replicas_ours=st.booleans()),
    capabilities=st.frozensets(st.sampled_from(Capability)),
)


@settings(deadline=None)
@given(pools, observations)
def test_any_pool_has_a_plan(pool: PoolFacts, observed: Observed) -> None:
    """Whatever people write, a plan is made, twice the same, each object once, and none both wanted and unwanted."""
    desired = plan(pool, SETTINGS, observed)
    wanted = [(body["apiVersion"], body["kind"], body["metadata"]["name"]) for body in desired.objects]
    unwanted = [(ref.api_version, ref.kind, ref.name) for ref in desired.absent]
    assert plan(pool, SETTINGS, observed) == desired
    assert len({*wanted, *unwanted}) == len(wanted) + len(unwanted)
    assert all(len(name) <= 63 for _, _, name in wanted)


@settings(deadline=None)
@given(pools, observations)
def test_every_object_is_the_pools(pool: PoolFacts, observed: Observed) -> None:
    """Each lies beside its pool, is labelled, and goes when the pool goes."""
    labels = {names.NAME_LABEL: "background-tasks-worker", names.POOL_LABEL: pool.name}
    for body in plan(pool, SETTINGS, observed).objects:
        meta = body["metadata"]
        [owner] = meta["ownerReferences"]
        assert meta["namespace"] == pool.namespace
        assert meta["labels"].items() >= labels.items()
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (pool.uid, True, True)


@settings(deadline=None)
@given(pools)
def test_a_template_changes_nothing_that_holds_a_pool_together(pool: PoolFacts) -> None:
    """Selector, labels that are selected, security and our own environment are ours, whatever the template says."""
    bare = PoolFacts(
        namespace="demo", name=pool.name, uid="11aa", spec=PoolSpec.model_validate({"services": pool_services(pool)})
    )
    (spec, plain) = (deployment(one, SETTINGS)["spec"] for one in (pool, bare))
    pod, plain_pod = spec["template"]["spec"], plain["template"]["spec"]
    assert spec["selector"] == plain["selector"]
    assert spec["template"]["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items()
    assert pod["securityContext"] == plain_pod["securityContext"]
    assert [one["securityContext"] for one in pod["containers"]] == [plain_pod["containers"][0]["securityContext"]]


@settings(deadline=None)
@given(pools)
def test_our_environment_is_ours(pool: PoolFacts) -> None:
    """A name of ours stands once and says what the pool's fields say, with and without a template."""
    bare = replace(pool, spec=pool.spec.model_copy(update={"template": PoolSpec().template}))
    ours = [variable for variable in environment(pool) if named(variable) in OURS]
    assert ours == environment(bare)


@settings(deadline=None)
@given(pools, pools)
def test_a_fingerprint_tells_objects_apart(one: PoolFacts, other: PoolFacts) -> None:
    """Equal objects have equal fingerprints, and unequal ones do not."""
    first, second = (deployment(pool, SETTINGS) for pool in (one, other))
    assert (fingerprint(first) == fingerprint(second)) == (first == second)


def named(variable: dict[str, Any]) -> str:
    """Return the name of a variable, if it is one."""
    return name if isinstance(name := variable.get("name"), str) else ""


def pool_services(pool: PoolFacts) -> dict[str, Any]:
    """Return the services as people write them."""
    return pool.spec.services.model_dump(by_alias=True, exclude_none=True)
