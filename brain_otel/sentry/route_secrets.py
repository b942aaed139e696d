"""Masks a request's secrets, such as the token in ``/reset/{token}``, in the free texts of its events.

The caller chooses such a value, and Sentry reads the other fields: ``/reset/2026`` must not break the event's time.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from brain_otel.privacy import FILTERED
from brain_otel.runtime.text import word_set

SECRETS = "brain_otel.secrets"
"""Key in an event's hint: values of its request that are secrets in any text, such as those of path parameters.

None if they could not be found.
"""

_MIN_SECRET = 4
"""Characters of such a value; a shorter one would be found inside other words."""

_FREE = ("transaction", "message", "logentry", "culprit", "tags", "extra")
"""Parts of an event in which any text may hold a part of the request's address."""

_PROTOCOL_CONTEXTS = word_set("""
    trace runtime os device app browser gpu culture cloud_resource otel profile replay response
""")
"""Contexts that Sentry reads; an application names its own differently."""

_FREE_IN_CONTEXTS = ("data", "description", "attributes")


def without_route_secrets(event: dict[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
    """``event`` with ``secrets`` masked in its free texts; Sentry reads the other fields, such as its time."""
    known = tuple(each for each in secrets if len(each) >= _MIN_SECRET)
    known += tuple(quoted for each in known if (quoted := quote(each, safe="")) != each)
    return (
        {key: _free_texts(key, value, known) if value else value for key, value in event.items()} if known else event
    )


def _free_texts(key: str, value: Any, secrets: tuple[str, ...]) -> Any:
    """One of Sentry's interfaces with ``secrets`` masked in its free texts."""
    if key in _FREE:
        return _replaced(value, secrets)
    if key == "request":
        return _in_fields(value, secrets, except_for=("method",))
    if key == "contexts":
        return {
            name: _in_fields(each, secrets, only=_FREE_IN_CONTEXTS)
            if name in _PROTOCOL_CONTEXTS
            else _replaced(each, secrets)
            for name, each in value.items()
        }
    if key == "breadcrumbs":
        return {**value, "values": [_in_fields(each, secrets, only=("message", "data")) for each in values_of(value)]}
    if key in ("exception", "threads"):
        return {**value, "values": [_failure_without(each, secrets) for each in values_of(value)]}
    if key == "stacktrace":
        return _variables_without(value, secrets)
    if key == "user" and isinstance(value, dict):
        return {name: FILTERED if item in secrets else item for name, item in value.items()}
    if key == "fingerprint":
        return [each if str(each).startswith("{{") else _replaced(each, secrets) for each in value]
    return value


def values_of(interface: Any) -> Iterable[Any]:
    """The mappings in one of Sentry's interfaces, whether it is a list or has one under ``values``."""
    values = interface.get("values") if isinstance(interface, dict) else interface
    return [each for each in values or () if isinstance(each, dict)]


def _failure_without(failure: dict[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
    result: dict[str, Any] = _in_fields(failure, secrets, only=("value",))
    if result.get("mechanism"):
        result["mechanism"] = _in_fields(result["mechanism"], secrets, only=("data", "description"))
    if result.get("stacktrace"):
        result["stacktrace"] = _variables_without(result["stacktrace"], secrets)
    return result


def _variables_without(stacktrace: Any, secrets: tuple[str, ...]) -> Any:
    frames = stacktrace.get("frames") or ()
    return {**stacktrace, "frames": [_in_fields(frame, secrets, only=("vars",)) for frame in frames]}


def _in_fields(
    value: Any, secrets: tuple[str, ...], *, only: Iterable[str] | None = None, except_for: Iterable[str] = ()
) -> Any:
    """``value``, a mapping, with ``secrets`` masked in the values of some of its fields."""
    if not isinstance(value, dict):
        return value
    wanted = (value.keys() if only is None else set(only)) - set(except_for)
    return {key: _replaced(item, secrets) if key in wanted else item for key, item in value.items()}


def _replaced(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, FILTERED)
        return value
    if isinstance(value, dict):
        return {key: _replaced(item, secrets) for key, item in value.items()}
    return [_replaced(item, secrets) for item in value] if isinstance(value, (list, tuple)) else value
