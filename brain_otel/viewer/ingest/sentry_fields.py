"""Fields that several of Sentry's items have."""

from __future__ import annotations

from typing import Any

from brain_otel.viewer.rows import clip

Json = dict[str, Any]


def trace_context(event: Json) -> Json:
    """The event's place in a trace."""
    contexts = event.get("contexts")
    trace = contexts.get("trace") if isinstance(contexts, dict) else None
    return trace if isinstance(trace, dict) else {}


def origin_of(event: Json) -> dict[str, str]:
    """Service, environment and release; an SDK that names no service is called by its platform."""
    contexts = event.get("contexts")
    otel = contexts.get("otel") if isinstance(contexts, dict) else None
    resource = otel.get("resource") if isinstance(otel, dict) else None
    tags = event.get("tags")
    service = resource.get("service.name") if isinstance(resource, dict) else None
    service = service or (tags.get("service") if isinstance(tags, dict) else None) or event.get("platform")
    return {
        "service": clip(service or "unknown", 200),
        "environment": clip(event.get("environment") or "production", 200),
        "release": clip(event.get("release"), 200),
    }


def plain_attributes(attributes: Any) -> Json:
    """Attributes of Sentry's newer items, whose values have types, as plain values."""
    typed = attributes if isinstance(attributes, dict) else {}
    return {key: each.get("value") if isinstance(each, dict) else each for key, each in typed.items()}


def origin_of_attributes(attributes: Json) -> dict[str, str]:
    """The same of items that name it in attributes; an SDK without a service is called as its events' platform."""
    sdk = str(attributes.get("sentry.sdk.name") or "").split(".")
    platform = "node" if sdk[-1] == "node" else sdk[1] if len(sdk) > 1 else sdk[0]
    return {
        "service": clip(attributes.get("service.name") or platform or "unknown", 200),
        "environment": clip(attributes.get("sentry.environment") or "production", 200),
        "release": clip(attributes.get("sentry.release"), 200),
    }


def user_of(event: Json) -> str:
    """What tells the event's user from others."""
    user = event.get("user")
    if not isinstance(user, dict):
        return ""
    return clip(next((user[key] for key in ("id", "email", "username", "ip_address") if user.get(key)), ""), 200)


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
