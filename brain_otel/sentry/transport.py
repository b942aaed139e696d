"""sentry-sdk's transport with our delivery instead of a queue that drops the newest envelope and never retries."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sentry_sdk.envelope import Envelope, Item
from sentry_sdk.transport import Transport

from brain_otel.configuration.sections.delivery import LOCK_TIMEOUT, DeliverySettings
from brain_otel.delivery.delivery import Delivery
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.limited_log import CountLog
from brain_otel.sentry.dsn import create_target

if TYPE_CHECKING:
    from brain_otel.delivery.record import Record
    from brain_otel.delivery.spool.discarded import DiscardedEvents
    from brain_otel.delivery.spool.shipper_process import ShipperSupervisor
    from brain_otel.delivery.spool.writer import Spool
    from brain_otel.delivery.target import Target
    from brain_otel.sentry import records
else:
    # The first envelope needs it.
    records = late_module("brain_otel.sentry.records")

logger = logging.getLogger(__name__)

_OVERFLOWS = ("queue_overflow", "cache_overflow", "buffer_overflow", "backpressure")
"""Reasons that are lack of room, which the operator can change."""

MAX_GATHERED = 2**15
"""Bytes of transactions that are delivered without waiting for more: the smallest file of a spool has as many."""

REPORT_INTERVAL = 30.0
"""Seconds between two client reports, which tell Sentry what was discarded."""


class DeliveringTransport(Transport):
    """Makes a record of each envelope and hands it to a :class:`Delivery`."""

    settings = DeliverySettings()

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self._sends_reports = bool(options["send_client_reports"])
        self._reset()
        reset_in_child(self)
        self._overflow_log = CountLog(logger, "Discarded instead of sent to Sentry: %s")
        target = create_target(options["dsn"], options)
        self.delivery = Delivery(
            target,
            on_discard=self._record_lost,
            spool=_open_spool(self.settings, target),
            max_items=options["transport_queue_size"],
            uses_process=self.settings.shipper == "process",
        )

    def _reset(self) -> None:
        """Count nothing: in a forked child the counts belong to the parent."""
        self._lock = threading.Lock()
        self._discarded: DiscardedEvents = Counter()
        """Not reported yet; below 0 if more was reported than is lost."""
        self._told: Counter[str] = Counter()
        """What is held since :meth:`pause`, by category, and counted as discarded already."""
        self._reported = time.monotonic()
        self._gathered: list[Record] = []
        self._gathered_bytes = 0

    def capture_envelope(self, envelope: Envelope) -> None:
        """Take ``envelope``, and from time to time report what was discarded."""
        try:
            made = records.records_of(envelope)
        except Exception as error:  # imports fail where no descriptor is left
            caught("making records of an envelope", error)
            self._count(Counter(item.data_category for item in envelope.items), "internal_sdk_error")
            return
        for record in made:
            self._take(record)

    def gather_transaction(self, headers: bytes, payload: bytes, quantity: int) -> None:
        """Take an encoded envelope: its ``headers``, and a transaction of ``quantity`` spans, both as JSON.

        It is delivered by the next call of :meth:`write_gathered` or :meth:`flush`.
        """
        record = records.transaction_record(headers, payload, quantity)
        with self._lock:
            self._gathered.append(record)
            self._gathered_bytes += len(record.body)
        if self._gathered_bytes >= MAX_GATHERED:
            self.write_gathered()

    def write_gathered(self) -> None:
        """Deliver the transactions that were gathered."""
        with self._lock:
            gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if gathered:
            self._take(*gathered)

    def _take(self, *taken: Record) -> None:
        if self._told:
            self.resume()
        self.delivery.put(*taken)
        if time.monotonic() - self._reported > REPORT_INTERVAL and self.delivery.takes_reports():
            self._report()

    def record_lost_event(
        self, reason: str, data_category: str | None = None, item: Item | None = None, *, quantity: int = 1
    ) -> None:
        """Count what is discarded: ``quantity`` of ``data_category``, or all that is in ``item``."""
        if item is not None:
            record = records.record_of(Envelope(items=[item]))
            self._record_lost(record, reason)
            data_category, quantity = record.category, record.quantity
        elif data_category is not None:
            quantity = self._count({data_category: quantity}, reason)[data_category]
        if data_category is not None and quantity and reason in _OVERFLOWS:
            self._overflow_log.add(f"{data_category} ({reason})", quantity)

    def _record_lost(self, record: Record, reason: str) -> None:
        if record.category == "internal" and reason == "queue_overflow":
            with self._lock:  # a report that did not leave the process: the next has its counts
                self._discarded.update(records.reported_in(record))
        else:
            self._count(records.quantities(record), reason)

    def _count(self, discarded: Mapping[str, int], reason: str) -> Counter[str]:
        """Count what is discarded; returns it without what was counted before, when it was held."""
        counts = Counter(discarded)
        with self._lock:  # the event loop and several threads count
            if self._told and reason == "queue_overflow":
                counts, self._told = counts - self._told, self._told - counts
            for category, quantity in counts.items():
                self._discarded[category, reason] += quantity
        return counts

    def flush(self, timeout: float, callback: Any = None) -> None:  # noqa: ARG002 - the base's signature
        """Wait up to ``timeout`` seconds until everything is sent, or on disk."""
        self.write_gathered()
        if timeout <= 0:
            return
        if self.delivery.takes_reports():
            self._report(timeout=min(timeout, LOCK_TIMEOUT))
        self.delivery.flush(timeout)

    def pause(self, left: Counter[str], timeout: float) -> None:
        """Prepare for the end of the process, of which nothing else may tell: a server's signal ends it at once.

        ``left`` has what is held in the queues before. What is in memory here is held, too, and all of it counted and
        reported as discarded, once. If the process goes on, it is sent with the next record or by :meth:`resume`.
        """
        deadline = time.monotonic() + timeout
        self.write_gathered()
        self.delivery.hold(timeout / 2)
        for report in self.delivery.withdraw("internal"):
            self._record_lost(report, "queue_overflow")
        left.update(self.delivery.save())
        counted = self._count(left, "queue_overflow")
        with self._lock:
            self._told = Counter(left)
        left.clear()
        left.update(counted)

        def left_time() -> float:
            return max(0.0, deadline - time.monotonic())

        self._report(
            lambda report: self.delivery.send_at_once(report, left_time()), timeout=min(timeout, LOCK_TIMEOUT)
        )
        self.delivery.pause(left_time())

    def resume(self) -> None:
        """Send what is held, since the process goes on after its server's shutdown."""
        with self._lock:
            told, self._told = self._told, Counter()
            for category, quantity in told.items():
                self._discarded[category, "queue_overflow"] -= quantity
        if told:
            text = ", ".join(f"{quantity} {category}" for category, quantity in sorted(told.items()))
            logger.warning("The process goes on after its server's shutdown, and what is in memory is sent: %s", text)
        self.delivery.resume()

    def kill(self) -> None:
        """Take nothing more."""
        self.write_gathered()
        self.delivery.close()
        if self.settings.spool is not None:
            from brain_otel.delivery.spool.shipper_process import release_supervisor

            release_supervisor(self.settings.spool.directory, self.settings.shipper)

    def is_healthy(self) -> bool:
        """Whether Sentry accepts what it is sent; sentry-sdk's health monitor halves the trace rate while not."""
        return self.delivery.is_healthy()

    def _report(self, send: Callable[[Record], object] | None = None, timeout: float = 0.0) -> None:
        """Send a client report in an envelope of its own, so that it is not discarded with another item.

        The counts are kept in the spool, too, and ``timeout`` is that for its lock. See https://develop.sentry.dev/sdk/telemetry/client-reports/.
        """
        self._reported = time.monotonic()
        with guarded("reporting what is discarded"):
            with self._lock:
                discarded = +self._discarded  # without zeros
            create = records.report_of if discarded else None  # if the import fails, the next report has the counts
            if create is not None:
                with self._lock:
                    discarded = +self._discarded
                    self._discarded = Counter(
                        {key: quantity for key, quantity in self._discarded.items() if quantity < 0}
                    )
            self.delivery.keep_reported(discarded, timeout)  # with earlier ones, if another process held the lock
            if create is not None and discarded and self._sends_reports:
                (send or self.delivery.put)(create(discarded))


def _open_spool(settings: DeliverySettings, target: Target) -> tuple[Spool, ShipperSupervisor] | None:
    if settings.spool is None:
        return None
    from brain_otel.delivery.spool.shipper_process import open_spool  # none of it is needed without a spool

    return open_spool(settings, target)


def delivering(settings: DeliverySettings) -> type[DeliveringTransport]:
    """The class of transport that delivers by ``settings``; sentry-sdk makes the object."""
    return type("DeliveringTransport", (DeliveringTransport,), {"settings": settings})
