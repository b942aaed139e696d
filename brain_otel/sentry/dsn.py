"""Reads a DSN: the addresses behind it, the header that authenticates, how they are reached; sends a test event."""

import os
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.request import getproxies

import certifi
from sentry_sdk.consts import VERSION, EndpointType
from sentry_sdk.envelope import Envelope
from sentry_sdk.utils import Dsn

from brain_otel.configuration.settings import SentrySettings
from brain_otel.delivery import DeliveryError
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target

_CLIENT = f"sentry.python/{VERSION}"


def otlp_address(dsn: str) -> tuple[str, dict[str, str]]:
    """The OTLP endpoint for traces of the DSN's project, and the header that Sentry requires there."""
    auth = Dsn(dsn).to_auth(_CLIENT)
    return auth.get_api_url(EndpointType.OTLP_TRACES), {"X-Sentry-Auth": auth.to_header()}


def envelope_address(dsn: str) -> str:
    """The address that events and transactions are sent to."""
    return Dsn(dsn).to_auth(_CLIENT).get_api_url()


def create_target(dsn: str, options: Mapping[str, Any]) -> Target:
    """Where envelopes are sent, with the proxy and certificates that sentry-sdk would use for ``options``.

    An option wins over its environment variable. A test compares the result with sentry-sdk's own transport.
    """
    parsed = Dsn(dsn)
    auth = parsed.to_auth(_CLIENT)
    bundle = options.get("ca_certs") or os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
    return Target(
        kind="sentry",
        url=auth.get_api_url(EndpointType.ENVELOPE),
        headers={"User-Agent": _CLIENT, "X-Sentry-Auth": auth.to_header()},
        proxy=_proxy(parsed, options),
        proxy_headers=dict(options.get("proxy_headers") or {}),
        ca_certs=_absolute(bundle or certifi.where()),
        cert_file=_absolute(options.get("cert_file") or os.environ.get("CLIENT_CERT_FILE")),
        key_file=_absolute(options.get("key_file") or os.environ.get("CLIENT_KEY_FILE")),
    )


def _proxy(dsn: Dsn, options: Mapping[str, Any]) -> str | None:
    """The proxy for ``dsn``; an option that is empty text switches the proxy of its scheme off."""
    variables = getproxies()
    excluded = (host.strip() for host in variables.get("no", "").split(",") if host.strip())
    if any(dsn.host.endswith(host) or dsn.netloc.endswith(host) for host in excluded):
        variables = {}
    for scheme in ("https", "http") if dsn.scheme == "https" else ("http",):
        option = options.get(f"{scheme}_proxy")
        proxy: str | None = option or (variables.get(scheme) if option != "" else None)
        if proxy:
            return proxy
    return None


def _absolute(path: str | None) -> str | None:
    return os.path.abspath(path) if path else None  # noqa: PTH100 - certifi gives text, and so do variables


def probe_event(sentry: SentrySettings, timeout: float, options: Mapping[str, Any] | None = None) -> str:
    """Send one test event within ``timeout`` seconds, as sentry-sdk's ``options`` say; what was delivered.

    Raises:
        DeliveryError: the event did not arrive, or Sentry discards it.
    """
    # Imported here: setup() needs the addresses of this module, and not urllib3.
    from brain_otel.delivery.http import HttpClient

    target = create_target(str(sentry.dsn), options or {})._replace(timeout=timeout)
    started = time.monotonic()

    answer = HttpClient(target, connections=1).send(Record("error", _test_event(sentry), 1))
    if answer.result == "unreachable" and time.monotonic() - started >= timeout:
        raise DeliveryError(f"no answer within {timeout:g} s")
    if answer.result != "sent":
        raise DeliveryError(answer.reason)
    # A used-up quota may come with 200: https://develop.sentry.dev/sdk/expected-features/rate-limiting/.
    for category, seconds in answer.limits.items():
        if category in ("", "error"):
            raise DeliveryError(f"Sentry discards errors at the moment (rate limit {seconds:g}:{category})")
    return "an event delivered"


def _test_event(sentry: SentrySettings) -> bytes:
    event_id = uuid.uuid4().hex
    envelope = Envelope(headers={"event_id": event_id})
    envelope.add_event(
        {
            "event_id": event_id,
            "timestamp": datetime.now(UTC).isoformat(),  # type: ignore[typeddict-item]  # text, as it is sent
            "platform": "python",
            "environment": sentry.environment,
            "level": "info",
            "message": "brain_otel doctor: a test event",
        }
    )
    return envelope.serialize()
