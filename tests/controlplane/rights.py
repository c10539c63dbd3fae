"""Who may do what, and who did: service accounts as processes use them, rules as sets, and an API server's audit log.

A right is (group, resource with its subresource, verb).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.testbed.session import ControlPlane

type Right = tuple[str, str, str]
type Rule = Mapping[str, Any]
CREATED = 201


def granted(rules: Iterable[Rule]) -> set[Right]:
    """Return all that rules allow."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def without(rules: Iterable[Rule], right: Right) -> list[dict[str, Any]]:
    """Return rules that allow all but one right."""
    group, resource, verb = right
    left: list[dict[str, Any]] = []
    for rule in rules:
        if group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]:
            others = [one for one in rule["resources"] if one != resource]
            left += [{**rule, "resources": others}] if others else []
            left.append({**rule, "resources": [resource], "verbs": [one for one in rule["verbs"] if one != verb]})
        else:
            left.append(dict(rule))
    return [rule for rule in left if rule["verbs"]]


def used(plane: ControlPlane, account: str, *, within: str = "", outside: str = "") -> set[Right]:
    """Return all that a service account (`namespace:name`) asked for: anywhere, in one namespace, or in all others."""
    return {
        right
        for event in _events(plane, account)
        if not within or event["objectRef"].get("namespace") == within
        if not outside or event["objectRef"].get("namespace") != outside
        for right in _rights(event)
    }


def refused(plane: ControlPlane, account: str) -> set[Right]:
    """Return all that a service account asked for and may not do."""
    return {
        right
        for event in _events(plane, account)
        if event.get("responseStatus", {}).get("code") == 403
        for right in _rights(event)
    }


def _events(plane: ControlPlane, account: str) -> Iterator[dict[str, Any]]:
    who = f"system:serviceaccount:{account}"
    for line in plane.audit_log.read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] == who and "objectRef" in event:
            yield event


def _rights(event: dict[str, Any]) -> Iterator[Right]:
    what = event["objectRef"]
    resource = "/".join(part for part in (what["resource"], what.get("subresource")) if part)
    yield what.get("apiGroup", ""), resource, event["verb"]
    if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == CREATED:
        yield what.get("apiGroup", ""), resource, "create"  # an apply that made the object had to be allowed to


def kubeconfig(plane: ControlPlane, namespace: str, account: str, folder: Path) -> Path:
    """Write the kubeconfig of a service account."""
    body = yaml.safe_load(plane.kubeconfig.read_text())
    body["users"] = [{"name": account, "user": {"token": plane.kubectl("-n", namespace, "create", "token", account)}}]
    body["contexts"] = [
        {"name": account, "context": {**body["contexts"][0]["context"], "user": account, "namespace": namespace}}
    ]
    body["current-context"] = account
    path = folder / f"{account}.kubeconfig"
    path.write_text(yaml.safe_dump(body))
    return path
