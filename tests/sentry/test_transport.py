"""The transport reaches Sentry as sentry-sdk's own does, and counts what is discarded."""

import errno
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.trace import SpanKind
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.transport import HttpTransport

from brain_otel.configuration.sections.delivery import SPOOL_BYTES, DeliverySettings, SpoolSettings
from brain_otel.delivery.spool.directory import segments
from brain_otel.delivery.spool.frames import Found, Frames
from brain_otel.destinations.isolation import IsolatedDestination
from brain_otel.runtime.limited_log import log_counts
from brain_otel.sentry.dsn import create_target
from brain_otel.sentry.transport import MAX_GATHERED, DeliveringTransport, delivering
from tests.sentry.conftest import Bridge, Connect
from tests.support.ingest import SentryIngest

DSN = "https://key:secret@o1.ingest.sentry.test:8443/42"

CONNECTIONS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "the defaults": (DSN, {}, {}),
    "no TLS": ("http://key@sentry.test/prefix/7", {}, {}),
    "proxies of variables": (DSN, {}, {"https_proxy": "http://a:1", "http_proxy": "http://b:2"}),
    "a proxy for http alone": (DSN, {}, {"http_proxy": "http://b:2"}),
    "a proxy that does not apply": ("http://key@sentry.test/7", {}, {"https_proxy": "http://a:1"}),
    "an excluded host": (DSN, {}, {"https_proxy": "http://a:1", "no_proxy": "localhost, sentry.test:8443"}),
    "an excluded domain": (DSN, {}, {"https_proxy": "http://a:1", "no_proxy": ".test"}),
    "another excluded host": (DSN, {}, {"https_proxy": "http://a:1", "no_proxy": "shop.test"}),
    "a proxy of an option": (DSN, {"https_proxy": "http://c:3"}, {"https_proxy": "http://a:1", "no_proxy": ".test"}),
    "a proxy switched off": (DSN, {"https_proxy": ""}, {"https_proxy": "http://a:1", "http_proxy": "http://b:2"}),
    "both switched off": (DSN, {"https_proxy": "", "http_proxy": ""}, {"https_proxy": "http://a:1"}),
    "headers for a proxy": (DSN, {"http_proxy": "http://c:3", "proxy_headers": {"X-A": "1"}}, {}),
    "certificates of options": (DSN, {"ca_certs": "/a.pem", "cert_file": "/b.pem", "key_file": "/c.pem"}, {}),
    "certificates of variables": (
        DSN,
        {},
        {"SSL_CERT_FILE": "/a", "CLIENT_CERT_FILE": "/b", "CLIENT_KEY_FILE": "/c"},
    ),
    "a bundle for requests": (DSN, {}, {"REQUESTS_CA_BUNDLE": "/a.pem"}),
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_the_connection_is_that_of_sentry_sdk(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address, headers, proxy and certificates, whether options or variables say so."""
    dsn, options, environ = CONNECTIONS[name]
    variables = ("https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CLIENT_CERT_FILE")
    for variable in (*variables, "CLIENT_KEY_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    client = sentry_sdk.Client(dsn, default_integrations=False, auto_enabling_integrations=False, **options)
    upstream: Any = client.transport
    assert isinstance(upstream, HttpTransport)
    target = create_target(dsn, client.options)
    headers: dict[str, str] = {}
    upstream._update_headers(headers)
    pool = upstream._get_pool_options()
    assert target.url == upstream._auth.get_api_url()
    assert target.headers == headers
    assert target.proxy == upstream._resolve_proxy()
    assert target.proxy_headers == (client.options["proxy_headers"] or {})
    assert (target.ca_certs, target.cert_file, target.key_file) == (
        pool["ca_certs"],
        pool["cert_file"],
        pool["key_file"],
    )
    client.close(timeout=0)


def discarded(bridge: Bridge) -> dict[tuple[str, str], int]:
    bridge.flush()
    bridge.ingest.wait_for(lambda it: bool(it.client_reports))
    (report,) = bridge.ingest.client_reports
    return {(each["reason"], each["category"]): each["quantity"] for each in report["discarded_events"]}


def test_discarded_items_are_counted_as_sentry_sdk_counts_them(bridge: Bridge) -> None:
    """By number and category; a transaction counts with its spans, a batch with its items, logs with their bytes."""
    transport: Any = sentry_sdk.get_client().transport
    assert isinstance(transport, DeliveringTransport)
    transaction = {"type": "transaction", "spans": [{}, {}]}
    logs = Item(PayloadRef(json={"items": []}), type="log", headers={"item_count": 5})
    transport.record_lost_event("a", data_category="error", quantity=2)
    transport.record_lost_event("a", "error")
    transport.record_lost_event("b", item=Item(PayloadRef(json=transaction), type="transaction"))
    transport.record_lost_event("b", item=logs)
    transport.record_lost_event("c", item=Item(PayloadRef(json={"message": "no"}), type="event"))
    counted = discarded(bridge)
    assert len(logs.get_bytes()) <= counted.pop(("b", "log_byte")) < len(logs.get_bytes()) + 100  # with their headers
    assert counted == {
        ("a", "error"): 3,
        ("b", "transaction"): 1,
        ("b", "span"): 3,
        ("b", "log_item"): 5,
        ("c", "error"): 1,
    }


def test_nothing_is_reported_twice(bridge: Bridge) -> None:
    """A report starts the counts anew."""
    transport: Any = sentry_sdk.get_client().transport
    transport.record_lost_event("a", "error")
    assert discarded(bridge) == {("a", "error"): 1}
    bridge.flush()
    bridge.ingest.settle(0.2)
    assert len(bridge.ingest.client_reports) == 1


def test_what_is_counted_during_a_report_is_in_the_next(bridge: Bridge) -> None:
    """The event loop counts while another thread reports."""

    class Interrupted(int):
        """A quantity during whose addition another thread reports."""

        def __radd__(self, other: int) -> int:
            reporting = threading.Thread(target=bridge.flush)
            reporting.start()
            reporting.join(0.1)
            return other + int(self)

    transport: Any = sentry_sdk.get_client().transport
    transport.record_lost_event("a", "error", quantity=1)
    transport.record_lost_event("a", "error", quantity=Interrupted(2))
    bridge.flush()
    bridge.ingest.wait_for(lambda it: _reported(it, "a", "error") == 3)


def test_what_is_counted_while_a_report_finds_nothing_is_in_the_next(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread counts right after the report has looked."""
    transport: Any = sentry_sdk.get_client().transport

    class Lock:
        """Lets another thread count with its first release."""

        def __enter__(self) -> None:
            return None

        def __exit__(self, *_: object) -> None:
            monkeypatch.undo()
            transport.record_lost_event("a", "error")

    monkeypatch.setattr(transport, "_lock", Lock())
    transport._report()
    assert discarded(bridge) == {("a", "error"): 1}


def _reported(ingest: SentryIngest, reason: str, category: str) -> int:
    events = [event for report in ingest.client_reports for event in report["discarded_events"]]
    return sum(each["quantity"] for each in events if (each["reason"], each["category"]) == (reason, category))


def test_what_a_pause_counts_is_not_counted_again(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """The pause at a server's shutdown counts what is held; the end of the process drops it, and maybe more."""
    transport: Any = sentry_sdk.get_client().transport
    log_counts()
    left = Counter(transaction=3, span=9)
    transport.pause(left, 1.0)
    assert left == Counter(transaction=3, span=9)
    again = Counter(transaction=4, span=9)  # a second server
    transport.pause(again, 1.0)
    assert again == Counter(transaction=1)
    transport.record_lost_event("sample_rate", "transaction", quantity=7)
    caplog.clear()
    transport.record_lost_event("queue_overflow", "transaction", quantity=4)
    log_counts()
    assert caplog.records == []
    transport.record_lost_event("queue_overflow", "transaction", quantity=1)
    log_counts()
    assert "1 transaction (queue_overflow)" in caplog.text
    bridge.flush()
    bridge.ingest.wait_for(lambda it: _reported(it, "queue_overflow", "transaction") == 5)
    assert _reported(bridge.ingest, "sample_rate", "transaction") == 7


def test_what_is_sent_after_a_pause_is_taken_back(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """One line says so, and the reports count as many later losses less."""
    transport: Any = sentry_sdk.get_client().transport
    transport.pause(Counter(transaction=3, span=9), 1.0)
    sentry_sdk.capture_message("the process goes on")
    assert (
        "The process goes on after its server's shutdown, and what is in memory is sent: 9 span, 3 transaction"
        in (caplog.text)
    )
    bridge.flush()
    transport.record_lost_event("queue_overflow", "transaction", quantity=5)
    bridge.flush()
    bridge.ingest.wait_for(lambda it: _reported(it, "queue_overflow", "transaction") == 5)
    assert _reported(bridge.ingest, "queue_overflow", "span") == 9
    assert caplog.text.count("The process goes on") == 1


def test_what_a_pause_holds_is_sent_by_a_flush(bridge: Bridge) -> None:
    """An application that goes on calls `flush()`; the flush of an end soon after the pause leaves it."""
    destination = IsolatedDestination(bridge.destination)
    assert bridge.destination.pause is not None
    bridge.ingest.delay = 0.3  # keeps what follows in memory
    sentry_sdk.capture_message("an answer that takes long")
    bridge.ingest.wait_for(lambda it: len(it.events) == 1)
    with bridge.tracer.start_as_current_span("held", kind=SpanKind.SERVER):
        pass
    left: Counter[str] = Counter()
    bridge.destination.pause(left, 1.0)
    assert left["transaction"] == 1
    assert not destination.flush_rest(0.2)
    assert bridge.ingest.transactions == []
    assert destination.flush(10.0)
    assert len(bridge.ingest.transactions) == 1


def test_a_report_in_memory_is_in_that_of_a_pause(bridge: Bridge) -> None:
    """It would not be sent any more, and is dropped if memory is full of errors."""
    transport: Any = sentry_sdk.get_client().transport
    bridge.ingest.delay = 0.3
    sentry_sdk.capture_message("an answer that takes long")
    bridge.ingest.wait_for(lambda it: len(it.events) == 1)
    transport.record_lost_event("a", "error", quantity=2)
    transport.flush(0.01)
    left = Counter(transaction=1)
    transport.pause(left, 1.0)
    assert left == Counter(transaction=1)
    bridge.ingest.wait_for(lambda it: len(it.client_reports) == 1)
    assert discarded(bridge) == {("a", "error"): 2, ("queue_overflow", "transaction"): 1}


def test_a_lack_of_room_is_one_log_line(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """With counts by kind and reason; what was discarded by choice is not in it."""
    transport: Any = sentry_sdk.get_client().transport
    for _ in range(3):
        transport.record_lost_event("queue_overflow", "transaction", quantity=1)
        transport.record_lost_event("queue_overflow", "span", quantity=12)
        transport.record_lost_event("sample_rate", "transaction", quantity=1)
        transport.record_lost_event("before_send", "error", quantity=1)
        transport.record_lost_event("buffer_overflow", "span", quantity=5)
    log_counts()
    bridge.flush()
    lines = [record.getMessage() for record in caplog.records if "instead of sent" in record.getMessage()]
    assert lines == [
        "Discarded instead of sent to Sentry: 1 transaction (queue_overflow)",
        "Discarded instead of sent to Sentry: "
        "36 span (queue_overflow), 15 span (buffer_overflow), 2 transaction (queue_overflow)",
    ]


def test_without_client_reports_nothing_is_reported(connect: Connect) -> None:
    """sentry-sdk's option `send_client_reports` holds."""
    bridge = connect(options={"send_client_reports": False})
    transport: Any = sentry_sdk.get_client().transport
    transport.record_lost_event("a", "error")
    sentry_sdk.capture_message("hello")
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.events) == 1)
    assert bridge.ingest.client_reports == []


def test_an_empty_envelope_is_not_sent(bridge: Bridge) -> None:
    """sentry-sdk may hand one over."""
    transport: Any = sentry_sdk.get_client().transport
    transport.capture_envelope(Envelope())
    bridge.flush()
    assert bridge.ingest.envelopes == []


def spooling_transport(directory: Path, max_bytes: int = SPOOL_BYTES) -> DeliveringTransport:
    """A transport with a spool that nobody sends."""
    settings = DeliverySettings(spool=SpoolSettings(directory, max_bytes), shipper="external")
    client = sentry_sdk.Client(
        DSN, transport=delivering(settings), default_integrations=False, auto_enabling_integrations=False
    )
    assert isinstance(client.transport, DeliveringTransport)
    return client.transport


@pytest.fixture
def spooling(tmp_path: Path) -> Iterator[DeliveringTransport]:
    made = spooling_transport(tmp_path / "spool")
    yield made
    made.kill()


def spooled(transport: DeliveringTransport) -> list[bytes]:
    spool = transport.delivery._spool
    assert spool is not None
    return [
        found.record.body.splitlines()[0]
        for segment in segments(spool.folder)
        for found in frames_of(segment.path)
        if found.record is not None
    ]


def frames_of(path: Path) -> list[Found]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(Frames.of(descriptor).find(0, sealed=False))
    finally:
        os.close(descriptor)


def gather(transport: DeliveringTransport, *names: str, size: int = 1_000) -> list[bytes]:
    made = [json.dumps({"event_id": name}).encode() for name in names]
    for each in made:
        transport.gather_transaction(each, b'{"x":"%s"}' % (b"x" * size), 3)
    return made


def test_gathered_transactions_are_one_write(spooling: DeliveringTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order; until then nothing is on disk, and nothing comes twice."""
    sizes: list[int] = []
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    made = gather(spooling, *"abcde")
    assert spooled(spooling) == []
    spooling.write_gathered()
    spooling.write_gathered()
    assert spooled(spooling) == made
    assert len(sizes) == 1


def test_much_is_written_without_waiting_for_more(spooling: DeliveringTransport) -> None:
    """So that what is gathered is bounded."""
    made = gather(spooling, "a", "b", size=MAX_GATHERED // 2)
    assert spooled(spooling) == made
    gather(spooling, "c", size=10)
    assert spooled(spooling) == made


@pytest.mark.parametrize("end", [lambda it: it.flush(0.0), lambda it: it.kill(), lambda it: it.pause(Counter(), 1.0)])
def test_what_is_gathered_is_on_disk_at_the_end(
    spooling: DeliveringTransport, end: Callable[[DeliveringTransport], None]
) -> None:
    """After a flush, when the client closes, and when a server ends the process."""
    made = gather(spooling, "a", "b")
    end(spooling)
    assert spooled(spooling) == made


def test_a_large_transaction_does_not_keep_others_from_the_disk(tmp_path: Path) -> None:
    """One that fits into no file waits in memory, one that is larger than a quarter of the spool is discarded."""
    transport = spooling_transport(tmp_path / "spool", max_bytes=2**20)
    (small,) = gather(transport, "small")
    gather(transport, "large", size=300_000)
    transport.write_gathered()
    assert spooled(transport) == [small]
    assert transport._discarded == {("transaction", "cache_overflow"): 1, ("span", "cache_overflow"): 3}
    transport.kill()


def test_gathered_transactions_wait_in_memory_while_the_disk_fails(
    spooling: DeliveringTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, since one write is all or nothing."""

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(spooling.delivery, "resume", lambda: None)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        made = gather(spooling, "a", "b")
        spooling.write_gathered()
    assert spooled(spooling) == []
    assert spooling.delivery.save() == {}
    assert spooled(spooling) == made


def test_the_processor_delivers_what_it_has_built(bridge: Bridge) -> None:
    """Before its flush returns, and without a flush of the client."""
    for number in range(3):
        with bridge.tracer.start_as_current_span(f"job {number}"):
            pass
    assert bridge.processor.flush_within(10.0)  # type: ignore[attr-defined]
    bridge.ingest.wait_for(lambda it: len(it.transactions) == 3)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_writes_nothing_of_its_parents(spooling: DeliveringTransport) -> None:
    """What was gathered before the fork is the parent's."""
    made = gather(spooling, "a")
    child = os.fork()
    if child == 0:  # no assertion may leave this branch
        try:
            spooling.write_gathered()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert spooled(spooling) == []
    spooling.write_gathered()
    assert spooled(spooling) == made
