"""sentry-sdk's transport with our delivery in the place of its queue, which drops the newest and never tries again.

What sentry-sdk's own code does well is left to it: proxies, certificates and the form of the envelope.
"""

from __future__ import annotations

import os
import time
from typing import Any

from opentelemetry.instrumentation.utils import suppress_instrumentation
from sentry_sdk.consts import EndpointType
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import HttpTransport

from brain_otel.configuration.settings import DeliverySettings
from brain_otel.delivery.delivery import Delivery
from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.eviction import quantities
from brain_otel.delivery.spool.shipper_process import leave, open_spool
from brain_otel.delivery.target import Target

REPORT = 30.0
"""Seconds between two reports of what was lost."""


class ExcludedTransport(HttpTransport):
    """sentry-sdk's transport, whose own requests no instrumentation traces.

    ``_request`` is the one method through which every request goes; a test pins that.
    """

    def _request(self, *args: Any, **kwargs: Any) -> Any:
        with suppress_instrumentation():
            return super()._request(*args, **kwargs)


class DeliveringTransport(ExcludedTransport):
    """Makes a record of each envelope and hands it to a :class:`Delivery`."""

    settings = DeliverySettings()

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        target = self._target()
        self.delivery = Delivery(
            target,
            lost=self._lost,
            spool=open_spool(self.settings, target),
            max_items=options["transport_queue_size"],
        )
        self._reported = time.monotonic()

    def capture_envelope(self, envelope: Envelope) -> None:
        """Take ``envelope``; from time to time tell what has been lost."""
        if envelope.items:
            self._take(_record(envelope))

    def _take(self, record: Record) -> None:
        self.delivery.put(record)
        if time.monotonic() - self._reported > REPORT and self.delivery.takes_reports():
            self._report()

    def capture_transaction(self, headers: bytes, payload: bytes, quantity: int) -> None:
        """Take an envelope that is ready: its ``headers``, and a transaction of ``quantity`` spans, both as JSON."""
        body = b'%s\n{"type":"transaction","content_type":"application/json","length":%d}\n%s\n' % (
            headers,
            len(payload),
            payload,
        )
        self._take(Record("transaction", body, quantity))

    def flush(self, timeout: float, callback: Any = None) -> None:  # noqa: ARG002 - the base's signature
        """Wait up to ``timeout`` seconds until all is sent, or on disk."""
        if timeout <= 0:
            return
        if self.delivery.takes_reports():
            self._report()
        self.delivery.flush(timeout)

    def kill(self) -> None:
        """Take nothing more."""
        self.delivery.close()
        if self.settings.spool is not None:
            leave(self.settings.spool.directory, self.settings.shipper)
        super().kill()

    def is_healthy(self) -> bool:
        """Whether Sentry takes what it gets; its health monitor halves the rate while not."""
        return self.delivery.is_healthy()

    def _report(self) -> None:
        """An envelope of its own: with what it came with it might be dropped, and the counts with it."""
        self._reported = time.monotonic()
        report = self._fetch_pending_client_report(force=True)
        if report is not None:
            self.delivery.put(_record(Envelope(items=[report])))

    def _lost(self, record: Record, reason: str) -> None:
        for category, quantity in quantities(record).items():
            self.record_lost_event(reason, data_category=category, quantity=quantity)  # type: ignore[arg-type]

    def _target(self) -> Target:
        headers: dict[str, str] = {}
        self._update_headers(headers)
        options = self._get_pool_options()
        return Target(
            kind="sentry",
            url=self._auth.get_api_url(EndpointType.ENVELOPE),
            headers=headers,
            proxy=self._resolve_proxy(),
            proxy_headers=dict(self.options["proxy_headers"] or {}),
            ca_certs=_absolute(options["ca_certs"]),
            cert_file=_absolute(options["cert_file"]),
            key_file=_absolute(options["key_file"]),
        )


def delivering(settings: DeliverySettings) -> type[DeliveringTransport]:
    """The class of transport that delivers as ``settings`` say."""
    return type("DeliveringTransport", (DeliveringTransport,), {"settings": settings})


def _record(envelope: Envelope) -> Record:
    first = envelope.items[0]
    category = first.data_category
    quantity = 1
    if category == "transaction":
        quantity = len((first.get_transaction_event() or {}).get("spans") or ()) + 1
    elif isinstance(count := first.headers.get("item_count"), int):
        quantity = count
    return Record(category, envelope.serialize(), quantity)


def _absolute(path: str | None) -> str | None:
    return os.path.abspath(path) if path else None  # noqa: PTH100 - certifi gives text, and so do variables
