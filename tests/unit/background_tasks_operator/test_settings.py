"""What the operator is told, and how it says what is wrong."""

import pytest

from background_tasks.errors import InvalidSettings
from background_tasks_operator.settings import Settings

IMAGE = {"BGTASKS_OPERATOR_IMAGE": "background-tasks:0.1.0"}


def test_only_the_image_must_be_told() -> None:
    """Everything else has a default: the whole cluster is watched, and the pool `default` is a plain one."""
    assert Settings.from_env(IMAGE) == Settings(image="background-tasks:0.1.0", default_pool={})


def test_everything_can_be_told() -> None:
    """Each variable reaches its field; namespaces come by commas, each once; words in any case."""
    env = {
        "BGTASKS_OPERATOR_IMAGE": "mine:2",
        "BGTASKS_OPERATOR_IMAGE_PULL_POLICY": "always",
        "BGTASKS_OPERATOR_NAMESPACE": "bgtasks",
        "BGTASKS_OPERATOR_POD_NAME": "operator-7d4b9c-x2x9p",
        "BGTASKS_OPERATOR_POD_UID": "11aa",
        "BGTASKS_OPERATOR_WATCH_NAMESPACES": "team-a, team-b,team-a,",
        "BGTASKS_OPERATOR_DEFAULT_POOL": '{"replicas": 2}',
        "BGTASKS_OPERATOR_LOG_LEVEL": "DEBUG",
    }
    assert Settings.from_env(env) == Settings(
        image="mine:2",
        image_pull_policy="Always",
        namespace="bgtasks",
        pod_name="operator-7d4b9c-x2x9p",
        pod_uid="11aa",
        watch_namespaces=("team-a", "team-b"),
        default_pool={"replicas": 2},
        log_level="debug",
    )


def test_empty_means_not_told() -> None:
    """A chart writes every variable, also those without a value; variables of others are not read."""
    empty = {f"BGTASKS_OPERATOR_{name}": " " for name in ("NAMESPACE", "WATCH_NAMESPACES", "DEFAULT_POOL")}
    others = {"BGTASKS_OPERATOR_METRICS_SERVICE_HOST": "10.0.0.1", "PATH": "/bin"}
    assert Settings.from_env({**IMAGE, **empty, **others}) == Settings.from_env(IMAGE)


def test_the_default_pool_can_be_switched_off() -> None:
    """JSON's null makes none."""
    assert Settings.from_env({**IMAGE, "BGTASKS_OPERATOR_DEFAULT_POOL": "null"}).default_pool is None


def test_all_faults_come_at_once() -> None:
    """One start tells all that is wrong: the variable, its value, the fix."""
    env = {
        "BGTASKS_OPERATOR_IMAGE_PULL_POLICY": "Allways",
        "BGTASKS_OPERATOR_WATCH_NAMESPACES": "a,Team_B",
        "BGTASKS_OPERATOR_DEFAULT_POOL": '{"slot": 1}',
        "BGTASKS_OPERATOR_LOG_LEVEL": "loud",
    }
    with pytest.raises(InvalidSettings) as told:
        Settings.from_env(env)
    assert str(told.value).split("; BGTASKS_OPERATOR_") == [
        "BGTASKS_OPERATOR_IMAGE is missing; give the image that workers run, such as background-tasks:0.1.0",
        'IMAGE_PULL_POLICY: "Allways" is not known; did you mean Always?',
        "WATCH_NAMESPACES: \"a,Team_B\" may hold only small letters, digits and inner '-'; write team-b",
        'DEFAULT_POOL: "{\\"slot\\": 1}" is not the spec of a WorkerPool; slot: is not a field; did you mean slots?',
        'LOG_LEVEL: "loud" is not known; write debug, info, warning or error',
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("IMAGE", "two words", '"two words" is no image'),
        ("NAMESPACE", "Bad", '"Bad" may hold only small letters'),
        ("NAMESPACE", "n" * 64, "is too long; write at most 63 characters"),
        ("DEFAULT_POOL", "{", "is not JSON"),
        ("DEFAULT_POOL", "[" * 100_000, "is not JSON"),
        ("DEFAULT_POOL", "[]", "is not the spec of a WorkerPool"),
        ("DEFAULT_POOL", "1", "is not the spec of a WorkerPool"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, value: str, told: str) -> None:
    """Nothing but `InvalidSettings` leaves, whatever stands in a variable."""
    with pytest.raises(InvalidSettings, match=f"BGTASKS_OPERATOR_{name}: ") as error:
        Settings.from_env({**IMAGE, f"BGTASKS_OPERATOR_{name}": value})
    assert told in str(error.value)
