"""One POST and what its answer means for the record that was sent."""

from __future__ import annotations

import codecs
import gzip
import json
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import urllib3

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from brain_otel.delivery.record import Record
    from brain_otel.delivery.target import Target

COMPRESSED_FROM = 1_024
"""Bytes of a body from which compression pays."""

_LEVEL = 3
_DEFAULT_LIMIT = 60.0
_SHORTEST_LIMIT = 1.0
_MAX_LIMIT = 24 * 3600.0
_TRANSIENT = frozenset({408, 425, 500, 502, 503, 504})

codecs.lookup("idna")
# A socket looks it up when it first connects to a name. A process that is forked while another thread does so for the
# first time would find half of it, and note for good that there is none.

SendResult = Literal["sent", "limited", "refused", "ill", "unreachable"]


class Answer(NamedTuple):
    """What became of one POST.

    ``sent``: taken. ``limited``: not now, see ``limits``. ``refused``: never, for what it is. ``ill``: the server
    has a fault, it may go better later. ``unreachable``: there was no answer.
    """

    result: SendResult
    reason: str = ""
    wait: float | None = None
    """Seconds that the server wants to be left alone."""
    limits: Mapping[str, float] = MappingProxyType({})
    """Seconds by category for which nothing of it is to be sent; "" stands for all."""


class HttpClient:
    """Keeps connections to a target and sends records over them; several threads may use one."""

    def __init__(self, target: Target, *, connections: int) -> None:
        self._target = target
        options: dict[str, Any] = {
            "maxsize": connections,
            "cert_reqs": "CERT_REQUIRED",
            "retries": False,
        }
        if target.url.startswith("https:"):
            options.update(ca_certs=target.ca_certs, cert_file=target.cert_file, key_file=target.key_file)
        self._pool = _pool(target, options)
        self._type = "application/x-sentry-envelope" if target.kind == "sentry" else "application/x-protobuf"

    def send(self, record: Record, timeout: float | None = None) -> Answer:
        """Send ``record`` within ``timeout`` seconds, or the target's own; never raises."""
        try:
            body = _dated(record.body) if self._target.kind == "sentry" else record.body
        except ValueError as error:  # no envelope at all
            return Answer("refused", f"{type(error).__name__}: {_one_line(str(error))}")
        headers = {"Content-Type": self._type, **self._target.headers}
        if self._target.compress and len(body) >= COMPRESSED_FROM:
            body, headers["Content-Encoding"] = gzip.compress(body, _LEVEL), "gzip"
        try:
            with _suppressed():
                response = self._post(body, headers, timeout)
        except Exception as error:  # urllib3's, and whatever a broken proxy or certificate gives rise to
            return Answer("unreachable", f"{type(error).__name__}: {_one_line(str(error))}")
        return _answer(response.status, response.headers, response.data)

    def _post(self, body: bytes, headers: Mapping[str, str], seconds: float | None) -> Any:
        seconds = self._target.timeout if seconds is None else min(seconds, self._target.timeout)
        return self._pool.request(
            "POST",
            self._target.url,
            body=body,
            headers=headers,
            redirect=False,
            timeout=urllib3.Timeout(total=seconds),
        )


def _pool(target: Target, options: dict[str, Any]) -> Any:
    if target.proxy is None:
        return urllib3.PoolManager(**options)
    if target.proxy.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager

        return SOCKSProxyManager(target.proxy, **options)
    return urllib3.ProxyManager(target.proxy, proxy_headers=dict(target.proxy_headers), **options)


def _suppressed() -> AbstractContextManager[None]:
    """Our own requests make no spans; in the shipper's process there is nothing that would."""
    if "opentelemetry.context" not in sys.modules:
        return nullcontext()
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    return suppress_instrumentation()


def _dated(envelope: bytes) -> bytes:
    """``envelope`` with the time of now in ``sent_at``.

    Relay takes the difference between that and its own clock for the error of ours, and would move the times of
    what has waited by as long as it has: https://develop.sentry.dev/sdk/data-model/envelopes/#envelope-headers.
    """
    line, _, rest = envelope.partition(b"\n")
    header = json.loads(line)
    if not isinstance(header, dict):
        raise ValueError("an envelope begins with its headers")
    header["sent_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps(header).encode() + b"\n" + rest


def _answer(status: int, headers: Mapping[str, str], data: bytes) -> Answer:
    limits = parsed_limits(headers.get("X-Sentry-Rate-Limits") or "")
    wait = _retry_after(headers.get("Retry-After"), headers.get("Date"))
    if 200 <= status < 300:
        return Answer("sent", limits=limits)
    reason = f"HTTP {status}" + (f": {_one_line(data[:500].decode('utf-8', 'replace'))}" if data else "")
    if status == 429:
        return Answer(
            "limited",
            reason,
            limits=limits or {"": max(wait, _SHORTEST_LIMIT) if wait is not None else _DEFAULT_LIMIT},
        )
    if status in _TRANSIENT or status > 504:
        return Answer("ill", reason, wait, limits)
    return Answer("refused", reason, limits=limits)


def parsed_limits(header: str) -> dict[str, float]:
    """Seconds by category from ``X-Sentry-Rate-Limits``; what is malformed is passed over.

    See https://develop.sentry.dev/sdk/expected-features/rate-limiting/#definitions.
    """
    limits: dict[str, float] = {}
    for limit in header.split(","):
        seconds, _, rest = limit.strip().partition(":")
        try:
            length = min(max(float(seconds), 0.0), _MAX_LIMIT)
        except ValueError:
            continue
        if length != length:
            continue
        for category in rest.partition(":")[0].split(";"):
            limits[category.strip()] = max(length, limits.get(category.strip(), 0.0))
    return limits


def _retry_after(header: str | None, now: str | None) -> float | None:
    """Seconds; a date is one of the server's clock, as is ``now``: ours may be days off."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        until = _timestamp(header)
        if until is None:
            return None
        seconds = until - ((_timestamp(now) if now is not None else None) or time.time())
    return min(max(seconds, 0.0), _MAX_LIMIT) if seconds == seconds else None


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
