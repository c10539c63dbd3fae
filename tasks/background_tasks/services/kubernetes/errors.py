"""What a call to the API server can end with, told by what the caller can do next; the library's errors end here.

Refused
├── Forbidden               whoever asks may not (403)
└── NotFound                the object, or its whole resource, is not there
Unavailable                 429 (with `retry_after`), 5xx, no connection, no answer to a read
└── Ambiguous               a write was sent and its answer is missing, or is a 5xx that may hide a done write
Conflict                    somebody else wrote first: read again
└── AlreadyExists           the name is taken
Gone                        that version, or that page of a list, is not kept any more: list again
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException, OpenApiException

from background_tasks.errors import Ambiguous, BackgroundTaskError, Refused, Unavailable

SHOWN = 300
"""Characters of an answer that is not a Status (a proxy's page), in an error's sentence."""
LONGEST_RETRY_AFTER_S = 120.0
"""What a server may ask of us; more would leave whoever obeys it deaf for a header's slip."""
UNAUTHORIZED, NOT_FOUND, CONFLICT, GONE = 401, 404, 409, 410
DENIED = "denied the request:", "denied the request without explanation", "denied request:"
"""So webhooks and policies speak of one object, with the code of missing rights (403) as well."""
TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE = 429, 503


class NotFound(Refused):
    """The object is not there, or the cluster does not know the resource."""


class Forbidden(Refused):
    """Whoever asks may not: it is the rights that are to be mended, not what was sent."""


class Conflict(BackgroundTaskError):
    """Somebody else wrote first (a stale resourceVersion or uid, a field that another manager owns): read again."""


class AlreadyExists(Conflict):
    """The name is taken."""


class Gone(BackgroundTaskError):
    """That version is not kept any more: list again."""


class Silent(Unavailable):
    """A watch told nothing, not even a bookmark, for too long: its connection may be dead."""


@contextmanager
def kubernetes_errors(doing: str, *, write: bool = False) -> Iterator[None]:
    """Translate the library's errors: `doing` names the attempt, as in "renew lease".

    A `write` that may have reached the server is `Ambiguous`, not `Unavailable`.
    """
    try:
        yield
    except BackgroundTaskError:
        raise
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unavailable(f"kubernetes: {doing}: no connection: {_told(error)}") from error
    except aiohttp.InvalidURL as error:
        raise Refused(f"kubernetes: {doing}: {_told(error)}; check the server's URL in the kubeconfig") from error
    except ApiException as error:
        raise api_error(doing, error.status or 0, error.body, write=write) from error
    except aiohttp.SocketTimeoutError as error:  # only what is read as it comes has such a timeout
        raise Silent(f"kubernetes: {doing}: nothing was told for too long") from error
    except TimeoutError as error:
        raise _unanswered(doing, "no answer in time", write=write) from error
    except (aiohttp.ClientError, OSError) as error:
        raise _unanswered(doing, f"the connection broke: {_told(error)}", write=write) from error
    except (OpenApiException, ValueError, RecursionError) as error:
        raise _unanswered(doing, f"the answer cannot be read: {_told(error)}", write=write) from error


def api_error(
    doing: str, code: int, body: bytes | str | None, *, write: bool = False, retry_after: str | None = None
) -> BackgroundTaskError:
    """Make the error for an HTTP answer; `body` is the API's Status (or whatever a proxy wrote)."""
    return status_error(doing, code, _status(body), write=write, retry_after=retry_after)


def status_error(
    doing: str, code: int, status: Mapping[str, Any], *, write: bool = False, retry_after: str | None = None
) -> BackgroundTaskError:
    """Make the error for a Status object, in the API's own words."""
    told = f"kubernetes: {doing}: {status.get('message') or 'no reason given'}"
    match code:
        case 403 if not any(denied in told for denied in DENIED):
            return Forbidden(f"{told} ({code})")
        case 404:
            return NotFound(told)
        case 409 if status.get("reason") == "AlreadyExists":
            return AlreadyExists(told)
        case 409:
            return Conflict(told)
        case 410:
            return Gone(told)
        case 408 | 429 | 503:
            return unavailable(f"{told} ({code})", _seconds(status, retry_after))
        case _ if code >= 500 or code < 400:
            kind = Ambiguous if write else Unavailable
            return unavailable(f"{told} ({code})", _seconds(status, retry_after), kind)
        case _:
            return Refused(f"{told} ({code})")


def unavailable(told: str, retry_after: float | None, kind: type[Unavailable] = Unavailable) -> Unavailable:
    """Make an `Unavailable` that says after how many seconds the server wants to be asked again."""
    error = kind(told)
    error.retry_after = retry_after
    return error


def _unanswered(doing: str, why: str, *, write: bool) -> Unavailable:
    if write:
        return Ambiguous(f"kubernetes: {doing}: {why}; it may have happened")
    return Unavailable(f"kubernetes: {doing}: {why}")


def _status(body: bytes | str | None) -> Mapping[str, Any]:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        return {"message": " ".join(text.split())[:SHOWN]}
    return status if isinstance(status, dict) else {"message": text[:SHOWN]}


def _seconds(status: Mapping[str, Any], retry_after: str | None) -> float | None:
    """Read how long to wait: the header, else the Status. Anything but a count of seconds is no answer."""
    details = status.get("details")
    told = retry_after or (details.get("retryAfterSeconds") if isinstance(details, dict) else None)
    try:
        seconds = float(told) if told is not None else 0.0
    except (TypeError, ValueError):
        return None
    return min(seconds, LONGEST_RETRY_AFTER_S) if 0 < seconds < float("inf") else None


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
