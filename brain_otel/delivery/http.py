"""One POST, and what its answer means for the record."""

import codecs
import json
import re
import ssl
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal

import urllib3

from brain_otel.delivery.bounded_answers import beginning_of_body, bound_answers
from brain_otel.delivery.connections import Connections, Response, can_connect
from brain_otel.delivery.otlp_answer import clean_message, is_page, partial_success
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.threads import start_daemon

MIN_COMPRESSED = 1_024
"""Bytes of a body; compressing a smaller one does not pay."""

FAST = 0.005
"""Seconds of an answer that is so fast that records are sent one at a time; to start threads would take as long."""

_COMPRESSION_LEVEL, _GZIP = 3, 31
DEFAULT_LIMIT = 60.0
"""Seconds to wait after a 429 that names no time, as in sentry-sdk."""

_MIN_LIMIT = 1.0
_MAX_LIMIT = 24 * 3600.0
_MAX_WAIT = 3600.0
"""Seconds for which nothing at all is sent because of a ``Retry-After``."""

_MAX_HEADER, _MAX_LIMITS, _LONGEST_CATEGORY, _LONGEST_DATE = 4_096, 64, 64, 64
"""Of a header with rate limits: characters, limits and categories; of a category and a date: characters."""

_SIMPLE_HEADER = re.compile(rb'(\{"event_id": ?"[0-9a-f]{32}", ?"sent_at": ?")[0-9TZ:.+-]{1,40}(?=")')
"""The beginning of an envelope that is not parsed: its first two members, as sentry-sdk and brain_otel write them."""

_PLAIN_NUMBER = re.compile(r"\d{1,7}(?:\.\d{1,9})?", re.ASCII)
_TRANSIENT = frozenset({408, 425, 500, *range(502, 1_000)})
_OTLP_TRANSIENT = frozenset({502, 503, 504})
"""No others but 429 are sent again: https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes."""


# A socket looks the codec up when it first connects to a name. A child that is forked during that lookup on another
# thread would find half of it, and remember forever that there is none.
codecs.lookup("idna")

SendResult = Literal["sent", "rate_limited", "rejected", "server_error", "unreachable"]
"""The result of sending a record.

``sent``: the server accepted it. ``rate_limited``: send it after the limits. ``rejected``: the server will never
accept it. ``server_error``: a later attempt may succeed. ``unreachable``: there was no answer.
"""


class Answer(NamedTuple):
    """The answer to one POST."""

    result: SendResult
    reason: str = ""
    """Why it was not sent, or what the server said about a record that it accepted."""
    rejected: int = 0
    """Items of an accepted record that the server did not accept."""
    wait: float | None = None
    """Seconds for which the server wants no request."""
    limits: Mapping[str, float] = MappingProxyType({})
    """Seconds for which the server wants nothing of a category; "" stands for all."""


SENT = Answer("sent")
"""The usual answer."""


class HttpClient:
    """Sends records to a target over a pool of connections; threads may share it.

    A proxy, or a URL or headers that are not plain, take urllib3's pool instead of :mod:`.connections`.
    """

    def __init__(self, target: Target, *, connections: int) -> None:
        self._target = target
        self._type = "application/x-sentry-envelope" if target.kind == "sentry" else "application/x-protobuf"
        self._plain = Connections(target, self._type, size=connections) if can_connect(target) else None
        self._pool: Any = _create_pool(target, connections) if self._plain is None else None

    def send(self, record: Record, timeout: float | None = None) -> Answer:
        """Send ``record`` within ``timeout`` seconds and the target's own timeout; never raises."""
        try:
            body = _with_sent_at(record.body) if self._target.kind == "sentry" else record.body
        except ValueError as error:  # not an envelope
            return Answer("rejected", f"{type(error).__name__}: {clean_message(str(error))}")
        encoding = ""
        if self._target.compress and len(body) >= MIN_COMPRESSED:
            body, encoding = zlib.compress(body, _COMPRESSION_LEVEL, wbits=_GZIP), "gzip"
        seconds = self._target.timeout if timeout is None else min(timeout, self._target.timeout)
        try:
            response = self._post(body, encoding, seconds)
        except ssl.SSLError as error:
            return Answer("unreachable", f"SSLError: {clean_message(str(error))}")
        except Exception as error:  # urllib3's own, and any that a broken proxy or certificate causes
            return Answer("unreachable", f"{type(error).__name__}: {clean_message(str(error))}")
        return _answer(response.status, response.headers, response.body, is_otlp=self._target.kind == "otlp")

    in_turn = 1
    """Records that :meth:`send_in_turn` sends."""

    def send_in_turn(self, records: Sequence[Record], timeout: float | None = None) -> list[Answer]:
        """Send the first of ``records``; returns its answer."""
        return [self.send(records[0], timeout)]

    def send_all(self, records: Sequence[Record], timeout: float | None = None) -> list[Answer]:
        """Send ``records`` at once; returns the answers in their order."""
        answers: dict[int, Answer] = {}

        def send(index: int) -> None:
            answers[index] = self.send(records[index], timeout)

        threads = [start_daemon(partial(send, index), "brain_otel.sending") for index in range(1, len(records))]
        for index in [0, *(index for index, thread in enumerate(threads, start=1) if thread is None)]:
            send(index)
        for thread in threads:
            if thread is not None:
                thread.join()
        return [answers[index] for index in range(len(records))]

    def _post(self, body: bytes, encoding: str, seconds: float) -> Response:
        if self._plain is not None:
            return self._plain.post(body, encoding, seconds)
        headers = {"Content-Type": self._type, **self._target.headers}
        if encoding:
            headers["Content-Encoding"] = encoding
        with _suppressed_instrumentation():
            response = self._pool.request(
                "POST",
                self._target.url,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(total=seconds),
            )
            found = {name.lower(): value for name, value in response.headers.itermerged()}
            return Response(response.status, found, beginning_of_body(response))


def _create_pool(target: Target, connections: int) -> Any:
    options: dict[str, Any] = {"maxsize": connections, "cert_reqs": "CERT_REQUIRED", "retries": False}
    if target.url.startswith("https:"):
        options.update(ca_certs=target.ca_certs, cert_file=target.cert_file, key_file=target.key_file)
    if target.proxy is None:
        return bound_answers(urllib3.PoolManager(**options))
    if target.proxy.startswith("socks"):
        from urllib3.contrib.socks import SOCKSProxyManager

        return bound_answers(SOCKSProxyManager(target.proxy, **options))
    return bound_answers(urllib3.ProxyManager(target.proxy, proxy_headers=dict(target.proxy_headers), **options))


def _suppressed_instrumentation() -> AbstractContextManager[None]:
    """Creates no spans for our own requests; the shipper's process has no OpenTelemetry."""
    if "opentelemetry.context" not in sys.modules:
        return nullcontext()
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    return suppress_instrumentation()


def _with_sent_at(envelope: bytes) -> bytes:
    """``envelope`` with the current time as ``sent_at``.

    Relay takes the difference to its own clock for an error of ours, and shifts all times by the time in the queue:
    https://develop.sentry.dev/sdk/data-model/envelopes/#envelope-headers.
    """
    second, microsecond = divmod(time.time_ns() // 1_000, 1_000_000)
    now = b"%b.%06dZ" % (_date(second), microsecond)
    if known := _SIMPLE_HEADER.match(envelope):
        return b"".join((known[1], now, memoryview(envelope)[known.end() :]))
    end = envelope.find(b"\n")
    header = json.loads(envelope[:end] if end >= 0 else envelope)
    if not isinstance(header, dict):
        raise ValueError("an envelope begins with its headers")
    header["sent_at"] = now.decode()
    rest = memoryview(envelope)[end + 1 :] if end >= 0 else b""  # no second copy of what may be megabytes
    return b"".join((json.dumps(header).encode(), b"\n", rest))


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """The date and time of a second since 1970; many records are sent in one."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6].encode()


def _answer(status: int, headers: Mapping[str, str], data: bytes, *, is_otlp: bool = False) -> Answer:
    limited = headers.get("x-sentry-rate-limits")
    limits = parse_rate_limits(limited) if limited else {}
    wait = _retry_after(headers.get("retry-after"), headers.get("date"))
    if 200 <= status < 300 and not (is_otlp and is_page(data)):
        told = partial_success(headers.get("content-type") or "", data) if is_otlp else None
        return Answer("sent", limits=limits) if told is None else Answer("sent", told.message, told.rejected)
    reason = f"HTTP {status}" + (f": {clean_message(data.decode('utf-8', 'replace'))}" if data else "")
    if status == 429:
        all_categories = {"": max(wait, _MIN_LIMIT) if wait is not None else DEFAULT_LIMIT}
        return Answer("rate_limited", reason, limits=limits or all_categories)
    if status in (_OTLP_TRANSIENT if is_otlp else _TRANSIENT):
        return Answer("server_error", reason, wait=wait, limits=limits)
    return Answer("rejected", reason, limits=limits)


def parse_rate_limits(header: str) -> dict[str, float]:
    """Seconds by category from ``X-Sentry-Rate-Limits``; ignores malformed parts.

    See https://develop.sentry.dev/sdk/expected-features/rate-limiting/#definitions.
    """
    limits: dict[str, float] = {}
    for limit in header[:_MAX_HEADER].split(",")[:_MAX_LIMITS]:
        given, _, rest = limit.strip().partition(":")
        seconds = _seconds(given)
        if seconds is None:
            continue
        for category in rest.partition(":")[0].split(";")[:_MAX_LIMITS]:
            name = category.strip()
            if len(name) <= _LONGEST_CATEGORY:
                limits[name] = max(min(seconds, _MAX_LIMIT), limits.get(name, 0.0))
    return dict(islice(limits.items(), _MAX_LIMITS))


def _seconds(text: str) -> float | None:
    """A number of seconds in plain digits; None for anything else, such as ``inf``, ``1e400`` or 50 digits."""
    return float(text) if _PLAIN_NUMBER.fullmatch(text) else None


def _retry_after(header: str | None, now: str | None) -> float | None:
    """Seconds. A date is compared with ``now``, the server's own date: our clock may be days off."""
    if header is None:
        return None
    seconds = _seconds(header.strip())
    if seconds is None:
        until = _timestamp(header)
        if until is None:
            return None
        seconds = until - ((_timestamp(now) if now is not None else None) or time.time())
    return min(max(seconds, 0.0), _MAX_WAIT)


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date[:_LONGEST_DATE]).timestamp()
    except Exception:  # the parser raises several kinds for malformed dates
        return None
