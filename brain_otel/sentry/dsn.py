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
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.utils import Dsn

from brain_otel.configuration.sections.sentry import SentrySettings
from brain_otel.delivery import DeliveryError, PartialDelivery
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


def probe_event(
    sentry: SentrySettings,
    timeout: float,
    options: Mapping[str, Any] | None = None,
    *,
    with_transaction: bool = False,
) -> str:
    """Send one test event within ``timeout`` seconds, as sentry-sdk's ``options`` say; what was delivered.

    ``with_transaction`` also sends a transaction: some servers refuse them, and say so only then.

    Raises:
        DeliveryError: the event did not arrive, or Sentry discards it.
        PartialDelivery: the event arrived, and Sentry refuses another category for long.
    """
    # Imported here: setup() needs the addresses of this module, and not urllib3.
    from brain_otel.delivery.http import HttpClient
    from brain_otel.delivery.rate_limits import MAX_WAIT

    target = create_target(str(sentry.dsn), options or {})._replace(timeout=timeout)
    started = time.monotonic()
    http_client = HttpClient(target, connections=1)
    event = _test_envelope(sentry, "event", level="info", message="brain_otel doctor: a test event")
    answer = http_client.send(Record("error", event))
    if answer.result == "unreachable" and time.monotonic() - started >= timeout:
        raise DeliveryError(f"no answer within {timeout:g} s")
    if answer.result != "sent":
        raise DeliveryError(answer.reason)
    # A used-up quota may come with 200: https://develop.sentry.dev/sdk/expected-features/rate-limiting/.
    limits = dict(answer.limits)
    for category, seconds in limits.items():
        if category in ("", "error"):
            raise DeliveryError(f"Sentry discards errors at the moment (rate limit {seconds:g}:{category})")
    if with_transaction and sentry.traces_sample_rate:
        left = max(0.1, timeout - (time.monotonic() - started))
        transaction = _test_envelope(sentry, "transaction", transaction="brain_otel doctor")
        limits.update(http_client.send(Record("transaction", transaction), left).limits)
    if refused := [f"{category} for {seconds:g} s" for category, seconds in limits.items() if seconds > MAX_WAIT]:
        raise PartialDelivery(f"an event delivered, but Sentry accepts no {', '.join(refused)}")
    return "an event delivered"


def _test_envelope(sentry: SentrySettings, kind: str, **fields: Any) -> bytes:
    """An envelope with one test item of ``kind``."""
    event_id, now = uuid.uuid4().hex, datetime.now(UTC).isoformat()
    common = {"event_id": event_id, "timestamp": now, "platform": "python", "environment": sentry.environment}
    trace = {"trace_id": uuid.uuid4().hex, "span_id": uuid.uuid4().hex[:16], "op": "test"}
    payload = {**common, "contexts": {"trace": trace}, **fields}
    if kind == "transaction":
        payload.update(type=kind, start_timestamp=now)
    envelope = Envelope(headers={"event_id": event_id})
    envelope.add_item(Item(PayloadRef(json=payload), type=kind))
    return envelope.serialize()
