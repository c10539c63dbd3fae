"""CEL rules: the checks of the models once more, in the words that an API server can run when somebody applies.

A rule stands at the field or model whose check it repeats, and its message ends with the fix.
Not here: which checks a cluster cannot repeat; docs/decisions/20261125-what-a-cluster-checks.md names them.
"""

from typing import Any

from pydantic import WithJsonSchema

VALIDATIONS = "x-kubernetes-validations"
TOLERANCE_S = "0.0000005"
"""Half a microsecond: sums of doubles differ by less, durations by more."""
_FACTORS = (
    'p.endsWith("ms") ? 0.001 : p.endsWith("s") ? 1.0 : p.endsWith("m") ? 60.0 : p.endsWith("h") ? 3600.0 : 86400.0'
)


def rule(cel: str, message: str, *, at: str = "", shown: str = "", told: str = "") -> dict[str, str]:
    """Make one rule. `at` is the field that is blamed, such as `.timeZone`.

    `shown` names a text that is put before the message (an API server itself shows only its type); `told` is CEL that
    makes the whole message. Numbers cannot be shown: to spell one counts as too costly.
    """
    told = f"{quoted(chr(34))} + {shown} + {quoted(chr(34) + ' ' + message)}" if shown else told
    made = {"rule": cel, "message": message, "messageExpression": told, "fieldPath": at}
    return {key: value for key, value in made.items() if value}


def ruled(*rules: dict[str, str]) -> dict[str, Any]:
    """Make what a model's `json_schema_extra` says, so that its schema carries the rules."""
    return {VALIDATIONS: list(rules)}


def text_schema(*rules: dict[str, str], **schema: Any) -> WithJsonSchema:
    """Make the schema of a text that a function checks."""
    return WithJsonSchema({"type": "string", **schema, **({VALIDATIONS: list(rules)} if rules else {})})


def seconds(field: str) -> str:
    """Write CEL for the seconds of a duration such as `1h30m`: a sum over its parts."""
    parts = f'{field}.findAll("[0-9]+([.][0-9]+)?(ms|s|m|h|d)")'
    return f'{parts}.map(p, double(p.find("[0-9.]+")) * ({_FACTORS})).sum()'


def longer(one: str, other: str) -> str:
    """Write CEL for: the one number of seconds is more than the other."""
    return f"{one} > {other} + {TOLERANCE_S}"


def matches(pattern: str, message: str) -> dict[str, str]:
    """Make the rule that tells the fix where a pattern alone would only show itself."""
    return rule(f"self.matches({quoted(pattern)})", message, shown="self")


def quoted(text: str) -> str:
    """Write a CEL string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
