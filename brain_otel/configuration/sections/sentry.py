"""Reads ``distribution.brain_otel.sentry``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from brain_otel.configuration.error import holds_credentials
from brain_otel.configuration.options import BOOLEANS
from brain_otel.configuration.settings import Secret, SentrySettings
from brain_otel.configuration.values import OURS, TRACES_RATE, read_boolean, reject_unknown, resource_attribute

if TYPE_CHECKING:
    from brain_otel.configuration.document import Document


DEFAULT_SPOTLIGHT = "http://localhost:8969/stream"
"""Where Spotlight listens, as sentry-sdk has it."""


def read_sentry(environment: str, document: Document) -> SentrySettings | None:
    """How the Sentry bridge is to behave; None if it has nowhere to send to.

    Raises:
        ConfigurationError: a value is wrong.
    """
    place = (*OURS, "sentry")
    known = ("dsn", "release", "profiles_sample_rate", "send_default_pii", "debug", "spotlight")
    reject_unknown(document, place, document.get(*place) or {}, known)
    # All of it is read before the DSN is looked at: a bad value shows on a machine without one too.
    rates = _rate(document, TRACES_RATE), _rate(document, (*place, "profiles_sample_rate"))
    send_default_pii = read_boolean(document, (*place, "send_default_pii"), SentrySettings._field_defaults)
    debug = read_boolean(document, (*place, "debug"), SentrySettings._field_defaults)
    spotlight = _spotlight(document, (*place, "spotlight"))
    dsn = document.get(*place, "dsn")
    if dsn and not is_dsn(str(dsn)):
        raise document.error((*place, "dsn"), dsn, "a DSN such as https://<key>@<host>/<project>")
    release = document.get(*place, "release")
    if isinstance(release, (dict, list)) or holds_credentials(str(release)):
        raise document.error((*place, "release"), release, "a release's name such as shop@1.2.3")
    if not dsn and spotlight is None:
        return None
    return SentrySettings(
        dsn=Secret(str(dsn)) if dsn else None,
        environment=environment,
        release=str(release) if release else None,
        service_version=resource_attribute(document, "service.version"),
        traces_sample_rate=rates[0],
        profiles_sample_rate=rates[1],
        send_default_pii=send_default_pii,
        debug=debug,
        spotlight=spotlight,
    )


def is_dsn(value: str) -> bool:
    """Whether ``value`` has the form of a `Sentry DSN <https://docs.sentry.io/concepts/key-terms/dsn-explainer/>`_."""
    try:
        parts = urlsplit(value)
        project = parts.path.rsplit("/", 1)[-1]
        is_project = project.isascii() and project.isdigit()
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        return bool(is_address and parts.username and is_project)
    except ValueError:
        return False


def _spotlight(document: Document, place: tuple[str, ...]) -> str | None:
    """The address of Spotlight, from an address or a boolean word."""
    value = document.get(*place)
    word = str(value if value is not None else "").strip()
    if word.lower() in BOOLEANS or not word:
        return DEFAULT_SPOTLIGHT if BOOLEANS.get(word.lower()) else None
    if isinstance(value, str) and _is_address(word) and not holds_credentials(word):
        return word
    raise document.error(place, value, f"an address such as {DEFAULT_SPOTLIGHT}, {', '.join(BOOLEANS)}")


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _rate(document: Document, place: tuple[str, ...]) -> float:
    value = document.get(*place)
    if value is None:
        name = "traces_sample_rate" if place == TRACES_RATE else place[-1]
        return float(SentrySettings._field_defaults[name])
    try:
        rate = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        raise document.error(place, value, "a number from 0 to 1")
    return rate
