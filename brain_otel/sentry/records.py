"""Makes records of envelopes, masked and within Sentry's limits of size. The first envelope loads this module."""

from sentry_sdk.envelope import Envelope

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.discarded import DiscardedEvents, client_report, quantities, reported_in
from brain_otel.sentry.envelopes import masked_envelope
from brain_otel.sentry.event_size import fit, fitted, split
from brain_otel.sentry.feedback import FEEDBACK

__all__ = ["quantities", "record_of", "records_of", "report_of", "reported_in", "transaction_record"]


def records_of(envelope: Envelope) -> list[Record]:
    """The records of ``envelope``, masked; an item that may be discarded alone has a record of its own."""
    envelope = masked_envelope(envelope)
    fit(envelope)
    return [record_of(part) for part in split(envelope)]


def record_of(envelope: Envelope) -> Record:
    """The record of ``envelope`` as it is; its category is that of the first item."""
    first = envelope.items[0]
    category = FEEDBACK if first.type == FEEDBACK else first.data_category
    quantity = 1
    if category == "transaction":
        quantity = len((first.get_transaction_event() or {}).get("spans") or ()) + 1
    elif isinstance(count := first.headers.get("item_count"), int):
        quantity = count
    return Record(category, envelope.serialize(), quantity)


def transaction_record(headers: bytes, payload: bytes, quantity: int) -> Record:
    """The record of an encoded envelope: its ``headers``, and a transaction of ``quantity`` spans, both as JSON."""
    payload = fitted(payload)
    body = b'%s\n{"type":"transaction","content_type":"application/json","length":%d}\n%s\n' % (
        headers,
        len(payload),
        payload,
    )
    return Record("transaction", body, quantity)


def report_of(discarded: DiscardedEvents) -> Record:
    """The record of a client report."""
    return Record("internal", client_report(discarded))
