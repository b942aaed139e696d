"""Fields that several of Sentry's items have."""

from typing import Any

from brain_otel.viewer.rows import Json, clip, object_at, origin_fields

USER_FIELDS = ("id", "email", "username", "ip_address")


def trace_context(event: Json) -> Json:
    """The event's place in a trace."""
    return object_at(event, "contexts", "trace")


def origin_of(event: Json) -> dict[str, str]:
    """Service, environment and release; an SDK that names no service is called by its platform."""
    service = object_at(event, "contexts", "otel", "resource").get("service.name")
    service = service or object_at(event, "tags").get("service") or event.get("platform")
    return origin_fields(service, event.get("environment"), event.get("release"))


def plain_attributes(attributes: Any) -> Json:
    """Attributes of Sentry's newer items, whose values have types, as plain values."""
    return {key: each.get("value") if isinstance(each, dict) else each for key, each in object_at(attributes).items()}


def origin_of_attributes(attributes: Json) -> dict[str, str]:
    """The same of items that name it in attributes; an SDK without a service is called as its events' platform."""
    sdk = str(attributes.get("sentry.sdk.name") or "").split(".")
    platform = "node" if sdk[-1] == "node" else sdk[1] if len(sdk) > 1 else sdk[0]
    service = attributes.get("service.name") or platform
    return origin_fields(service, attributes.get("sentry.environment"), attributes.get("sentry.release"))


def user_of(user: Json) -> str:
    """What tells a user from others."""
    return clip(next((user[key] for key in USER_FIELDS if user.get(key)), ""), 200)


def read_id(value: Any) -> str:
    """An id in lower case and without hyphens; empty if it is none."""
    text = clip(value, 64).replace("-", "").lower()
    return text if text.isalnum() else ""


def required_id(value: Any) -> str:
    """An id.

    Raises:
        ValueError: it is none.
    """
    if found := read_id(value):
        return found
    raise ValueError(f"{value!r:.100} is not an id")
