"""Answers that would exhaust memory or time: over both HTTP stacks, from a server that sends them on a socket."""

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope, Item
from sentry_sdk.spotlight import SpotlightClient

from brain_otel.delivery.bounded_answers import MAX_BODY
from brain_otel.delivery.http import HttpClient
from brain_otel.delivery.rate_limits import MAX_CATEGORIES, RateLimits
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target
from brain_otel.destinations.otlp.destination import _grpc_only
from brain_otel.destinations.otlp.session import Session
from brain_otel.sentry import spotlight as spotlight_module
from brain_otel.sentry.spotlight import QueuedSpotlight
from tests.support.process import SLACK

TIMEOUT = 1.0
MEMORY = 16 * 2**20
EVENT = Record("error", b'{"event_id":"0123456789abcdef0123456789abcdef"}\n{"type":"event","length":2}\n{}\n')
OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(bytes(2**20), 9) * 512
"""512 MiB of zeros."""

Send = Callable[[bytes], None]


def again_and_again(head: bytes, part: bytes, pause: float = 0.0) -> Callable[[Send], None]:
    def answer(send: Send) -> None:
        send(head)
        while True:
            send(part)
            time.sleep(pause)

    return answer


def once(*parts: bytes) -> Callable[[Send], None]:
    def answer(send: Send) -> None:
        for part in parts:
            send(part)

    return answer


CHUNK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
ANSWERS: dict[str, tuple[Callable[[Send], None], bool]] = {
    "usual": (once(OK + b"content-length: 2\r\n\r\n{}"), True),
    "gzip": (once(OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB), BOMB), True),
    "deflate": (once(OK + b"content-encoding: deflate\r\n\r\n", BOMB), True),
    "chunked gzip": (
        once(OK + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % len(BOMB), BOMB),
        True,
    ),
    "endless body": (again_and_again(OK + b"\r\n", b"x" * 65_536), True),
    "endless chunks": (again_and_again(OK + b"transfer-encoding: chunked\r\n\r\n", CHUNK), True),
    "a byte now and then": (again_and_again(OK + b"content-length: 999999\r\n\r\n", b"x", 0.2), True),
    "a longer body than there is": (once(OK + b"content-length: 999999999999\r\n\r\nabc"), False),
    "a negative length": (once(OK + b"content-length: -1\r\n\r\n{}"), True),
    "a length that is none": (once(OK + b"content-length: abc\r\n\r\n{}"), True),
    "a malformed chunk": (once(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n"), False),
    "a header now and then": (again_and_again(OK, b"a", 0.2), False),
    "headers without end": (again_and_again(OK, b"x-a: " + b"b" * 60_000 + b"\r\n"), False),
    "one header without end": (again_and_again(OK + b"x-a: ", b"b" * 65_536), False),
    "a status without end": (again_and_again(b"HTTP/1.1 200 ", b"b" * 65_536), False),
    "to be continued": (again_and_again(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), False),
    "redirect": (once(b"HTTP/1.1 307 Again\r\nlocation: /api/1/envelope/\r\ncontent-length: 0\r\n\r\n"), False),
    "redirect by 308": (once(b"HTTP/1.1 308 Moved\r\nlocation: http://127.0.0.1:1/\r\n\r\n"), False),
    "hints without end": (again_and_again(b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), False),
    "another protocol": (once(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n"), False),
    "trailers without end": (
        again_and_again(OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x-a: " + b"b" * 60_000 + b"\r\n"),
        False,
    ),
    "a chunk's extension without end": (
        again_and_again(OK + b"transfer-encoding: chunked\r\n\r\n2;a=", b"b" * 65_536),
        False,
    ),
    "a chunk of a petabyte": (once(OK + b"transfer-encoding: chunked\r\n\r\nfffffffffffff\r\nabc"), False),
    "a chunk of a negative size": (once(OK + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"), False),
    "a length of many digits": (once(OK + b"content-length: " + b"9" * 5_000 + b"\r\n\r\n{}"), True),
    "a status of four digits": (once(b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}"), False),
    "a redirect to 60 KB": (once(b"HTTP/1.1 302 Found\r\nlocation: /" + b"a" * 60_000 + b"\r\n\r\n"), False),
    "no content and a body": (once(b"HTTP/1.1 204 No Content\r\ncontent-length: 999999\r\n\r\nabc"), True),
    "two answers": (once((OK + b"content-length: 2\r\n\r\n{}") * 2), True),
    "nothing": (once(b""), False),
    "garbage": (once(bytes(range(256)) * 256), False),
}


class Server:
    """Reads a request and answers it on each connection."""

    def __init__(self, answer: Callable[[Send], None]) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.requests = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65_536) or b"\r\n\r\n"
                self.requests += 1
                self._answer(connection.sendall)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
            except OSError:
                return

    def close(self) -> None:
        self._listening.close()


def send_to_sentry(port: int) -> bool:
    """Send an event as the transport and the shipper do; whether it counts as sent."""
    target = Target(kind="sentry", url=f"http://127.0.0.1:{port}/api/1/envelope/", timeout=30.0)
    answer = HttpClient(target, connections=1).send(EVENT, TIMEOUT)
    assert len(answer.reason) < 1_000
    return answer.result == "sent"


def send_to_collector(port: int) -> bool:
    """Post as OpenTelemetry's exporter does; whether it takes the answer for success."""
    try:
        with Session() as session:
            response = session.post(f"http://127.0.0.1:{port}/v1/traces", data=b"x", timeout=TIMEOUT)
            assert len(response.content) <= 4_096
            assert response.text is not None
    except requests.RequestException:
        return False
    return response.status_code < 400


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """Give the bytes that were allocated at most since the start of the test."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("send", [send_to_sentry, send_to_collector])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_costs_little(name: str, send: Callable[[int], bool], memory: Callable[[], int]) -> None:
    """It takes as long as the timeout and the second for a body; the status of a slow or large answer counts."""
    answer, is_sent = ANSWERS[name]
    server = Server(answer)
    started = time.monotonic()
    try:
        assert send(server.port) is is_sent
    finally:
        server.close()
    assert time.monotonic() - started < 2 * TIMEOUT + 1 + SLACK
    assert memory() < MEMORY
    assert server.requests <= 2  # a client may try again on a connection that was closed without an answer


@pytest.mark.parametrize("length", [2, MAX_BODY - 1, MAX_BODY, MAX_BODY + 2])
@pytest.mark.parametrize("send", [send_to_sentry, send_to_collector])
def test_the_connection_is_used_again(send: Callable[[int], bool], length: int) -> None:
    """After a usual answer; a body that is too long costs its connection."""
    connections = []

    def answer(sending: Send) -> None:
        connections.append(sending)
        for _ in range(3):
            sending(OK + b"content-length: %d\r\n\r\n" % length + b"x" * length)
            time.sleep(0.2)

    server = Server(answer)
    target = Target(kind="sentry", url=f"http://127.0.0.1:{server.port}/", timeout=5.0)
    client, session = HttpClient(target, connections=1), Session()
    for _ in range(2):
        if send is send_to_sentry:
            assert client.send(EVENT).result == "sent"
        else:
            assert len(session.post(target.url, data=b"x", timeout=5.0).text) == min(length, MAX_BODY)
    server.close()
    session.close()
    assert len(connections) == (1 if length <= MAX_BODY else 2)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("usual", SpanExportResult.SUCCESS),
        ("gzip", SpanExportResult.SUCCESS),
        ("endless chunks", SpanExportResult.SUCCESS),
        ("a header now and then", SpanExportResult.FAILURE),
        ("redirect by 308", SpanExportResult.FAILURE),
    ],
)
def test_an_exporter_survives_the_answer(
    name: str, result: SpanExportResult, memory: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    """OpenTelemetry's own, over our session: it reads the body, and takes a redirect for success."""
    server = Server(ANSWERS[name][0])
    exporter = OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{server.port}/v1/traces", timeout=TIMEOUT, session=Session()
    )
    started = time.monotonic()
    assert exporter.export(spans()) is result
    exporter.shutdown()  # type: ignore[no-untyped-call]
    server.close()
    assert time.monotonic() - started < 3 * TIMEOUT + SLACK
    assert memory() < MEMORY
    assert result is SpanExportResult.SUCCESS or caplog.records


def spans() -> tuple[Any, ...]:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.get_tracer("test").start_span("span").end()
    return kept.get_finished_spans()


@pytest.mark.parametrize(("size", "result"), [(10, "SUCCESS"), (300_000, "FAILURE")])
def test_a_large_answer_over_grpc_is_not_read(size: int, result: str) -> None:
    """A message is at most 128 KiB; gRPC's own bound is 4 MiB."""
    import grpc  # type: ignore[import-untyped]
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, _: Any) -> Any:
            message = b"\x9a\x06" + encoded_length(size) + b"x" * size  # a field that nobody knows
            return grpc.unary_unary_rpc_method_handler(lambda *_: message)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    options = dict.fromkeys(("certificate", "client_key", "client_certificate", "compression"), "")
    exporter = GrpcExporter(endpoint=f"http://127.0.0.1:{port}", timeout=5, insecure=True, **_grpc_only(options))
    assert exporter.export(spans()).name == result
    exporter.shutdown()
    server.stop(0)


def encoded_length(size: int) -> bytes:
    """The length of a field, as protobuf writes it."""
    encoded = b""
    while size > 127:
        encoded += bytes([size & 127 | 128])
        size >>= 7
    return encoded + bytes([size])


@pytest.mark.parametrize("name", ["usual", "gzip", "endless body", "a header now and then", "redirect"])
def test_spotlight_survives_the_answer(name: str, memory: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """sentry-sdk's client has no bound of its own, and would follow redirects."""
    monkeypatch.setattr(spotlight_module, "_TIMEOUT", TIMEOUT)
    server = Server(ANSWERS[name][0])
    spotlight = QueuedSpotlight(SpotlightClient(f"http://127.0.0.1:{server.port}/stream"))
    spotlight.capture_envelope(Envelope(items=[Item(payload=b"{}", type="event")]))
    assert spotlight.flush(3 * TIMEOUT + SLACK)
    spotlight.close(1)
    server.close()
    assert server.requests == 1
    assert memory() < MEMORY


def test_limits_of_many_answers_take_no_memory() -> None:
    """Each answer names other categories; those that are limited stay limited."""
    limits = RateLimits()
    limits.update({"error": 60.0})
    for number in range(10_000):
        limits.update({f"category {number}": 60.0})
    assert len(limits.active()) == MAX_CATEGORIES
    assert limits.remaining("error") > 50
    limits.update({"error": 0.0})
    limits.update({"late": 60.0})
    assert limits.remaining("error") == 0
    assert limits.remaining("late") > 50


def test_a_slow_answer_holds_up_no_other_thread(memory: Any) -> None:
    """Each of several sends ends by itself."""
    server = Server(ANSWERS["a header now and then"][0])
    threads = [threading.Thread(target=send_to_sentry, args=(server.port,)) for _ in range(8)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    server.close()
    assert time.monotonic() - started < 2 * TIMEOUT + SLACK
    assert memory() < MEMORY
