"""An HTTP server that speaks Sentry's ingest protocol and keeps everything it receives."""

import json
import socket
import struct
import sys
import threading
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from tests.support.otlp_data import Span

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of an envelope, with its payload as sent."""

    type: str
    headers: Json
    payload: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """The payload, parsed."""
        return json.loads(self.payload)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One request to the envelope endpoint. Names in `request_headers` are in lower case."""

    headers: Json
    items: list[Item]
    request_headers: Mapping[str, str]


def parse_envelope(body: bytes, request_headers: Mapping[str, str]) -> Envelope:
    """Parse an envelope as https://develop.sentry.dev/sdk/data-model/envelopes/ describes it."""
    header_line, _, rest = body.partition(b"\n")
    items = []
    while rest := rest.lstrip(b"\n"):
        item_line, _, rest = rest.partition(b"\n")
        item_headers = json.loads(item_line)
        if "length" in item_headers:
            length = item_headers["length"]
            if len(rest) < length:
                raise ValueError(f"item says {length} bytes, {len(rest)} are left: {item_headers}")
            payload, rest = rest[:length], rest[length:]
            if rest and not rest.startswith(b"\n"):
                raise ValueError(f"no newline after an item of {length} bytes: {item_headers}")
        else:
            payload, _, rest = rest.partition(b"\n")
        items.append(Item(type=item_headers["type"], headers=item_headers, payload=payload))
    return Envelope(headers=json.loads(header_line), items=items, request_headers=request_headers)


class SentryIngest:
    """A Sentry server on 127.0.0.1, on a free port by default, until its `with` block ends.

    Keeps every envelope in order of arrival, also when `respond` or `delay` produce a bad answer.
    `otlp` keeps the requests to the OTLP endpoint for traces: headers, in lower case, and bodies.
    Answers any other request with 400 or 404 and names it in `rejected`.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.envelopes: list[Envelope] = []
        #: The envelopes that got the answer 200.
        self.accepted: list[Envelope] = []
        self.otlp: list[tuple[Mapping[str, str], bytes]] = []
        self.rejected: list[str] = []
        #: Returns the status and headers of the next answer; None: 200. Status 0 resets the connection.
        self.respond: Callable[[], tuple[int, dict[str, str]]] | None = None
        #: Like `respond`, for the OTLP endpoint.
        self.respond_otlp: Callable[[], tuple[int, dict[str, str]]] | None = None
        #: Returns whether to break off the next request in the middle of its body, which is then not kept.
        self.cut: Callable[[], bool] | None = None
        #: Seconds between the arrival of an envelope and its answer.
        self.delay: float = 0.0
        self._arrival = threading.Condition()
        self._arrivals = 0
        self._closing = threading.Event()
        self._server = _Server(self, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sentry-ingest", daemon=True
        )

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.port}/42"

    def items(self, *types: str) -> list[Item]:
        """Return all items of these types; without a type, all items."""
        with self._arrival:
            every = [item for envelope in self.envelopes for item in envelope.items]
        return [item for item in every if not types or item.type in types]

    @property
    def events(self) -> list[Json]:
        return [item.json for item in self.items("event")]

    @property
    def transactions(self) -> list[Json]:
        return [item.json for item in self.items("transaction")]

    @property
    def sessions(self) -> list[Json]:
        return [item.json for item in self.items("session", "sessions")]

    @property
    def client_reports(self) -> list[Json]:
        return [item.json for item in self.items("client_report")]

    @property
    def profiles(self) -> list[Json]:
        return [item.json for item in self.items("profile", "profile_chunk")]

    @property
    def spans(self) -> "list[Span]":
        """The spans that the OTLP endpoint received. Raises if a body is not OTLP."""
        from tests.support.otlp_data import KINDS, spans_of

        with self._arrival:
            bodies = [body for _, body in self.otlp]
        return [span for body in bodies for span in spans_of(KINDS["traces"][0].FromString(body))]

    def clear(self) -> None:
        """Forget what has arrived so far."""
        with self._arrival:
            self.envelopes.clear()
            self.accepted.clear()
            self.otlp.clear()
            self.rejected.clear()

    def wait_for(
        self, predicate: Callable[["SentryIngest"], bool], timeout: float = PATIENCE, message: str = ""
    ) -> None:
        """Wait until the predicate holds. After `timeout` seconds, fail with a list of what arrived."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"{message or 'not sent'} within {timeout:g} s; {self.describe()}")

    def settle(self, quiet: float = 0.5, timeout: float = 5.0) -> None:
        """Wait until nothing arrives for `quiet` seconds."""
        deadline = time.monotonic() + timeout
        with self._arrival:
            while True:
                seen = self._arrivals
                if not self._arrival.wait_for(lambda seen=seen: self._arrivals != seen, quiet):  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                    return
                if time.monotonic() > deadline:
                    raise AssertionError(f"still sending after {timeout:g} s; {self.describe()}")

    def describe(self) -> str:
        """Summarize what has arrived, for the message of a failing test."""
        raised = [
            f"{value.get('type')}: {value.get('value')}"
            for event in self.events
            for value in event.get("exception", {}).get("values", [])
        ]
        return (
            f"items: {dict(Counter(item.type for item in self.items()))}, "
            f"transactions: {[event.get('transaction') for event in self.transactions]}, "
            f"exceptions: {raised}, rejected: {self.rejected}"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _keep(self, kept: list[Any], arrived: object) -> None:
        with self._arrival:
            kept.append(arrived)
            self._arrivals += 1
            self._arrival.notify_all()

    def _reject(self, reason: str) -> None:
        with self._arrival:
            self.rejected.append(reason)

    def _answer(self) -> tuple[int, dict[str, str]]:
        self._closing.wait(self.delay)
        return self.respond() if self.respond is not None else (200, {})


class _Server(ThreadingHTTPServer):
    """Joins its threads on close: no connection outlives the test."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, ingest: SentryIngest, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.ingest = ingest
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        # The thread of a kept-alive connection waits for the next request.
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client has closed it
                    continue
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Tests kill clients in the middle of a request.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        ingest = self.server.ingest
        if ingest.cut is not None and ingest.cut():
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            self._hang_up()
            return
        body = self._body()
        if len(body) < int(self.headers.get("Content-Length", 0)):
            return  # the client ended in the middle of it
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:1] == ["api"] and parts[2:] == ["integration", "otlp", "v1", "traces"]:
            self._receive_otlp(body)
            return
        if len(parts) != 3 or (parts[0], parts[2]) != ("api", "envelope"):
            ingest._reject(f"POST {self.path}")
            self._send(404, {}, {"detail": "no such endpoint"})
            return
        try:
            names = {name.lower(): value for name, value in self.headers.items()}
            envelope = parse_envelope(_decode(body, names.get("content-encoding", "identity")), names)
        except (ValueError, KeyError, zlib.error) as error:
            ingest._reject(f"{type(error).__name__}: {error} in {body[:200]!r}")
            self._send(400, {}, {"detail": str(error)})
            return
        ingest._keep(ingest.envelopes, envelope)
        status, headers = ingest._answer()
        if status == 200:
            ingest._keep(ingest.accepted, envelope)
        if status == 0:
            self._reset()
            return
        self._send(status, headers, {"id": envelope.headers.get("event_id", uuid.uuid4().hex)})

    def _receive_otlp(self, body: bytes) -> None:
        ingest = self.server.ingest
        names = {name.lower(): value for name, value in self.headers.items()}
        ingest._keep(ingest.otlp, (names, _decode(body, names.get("content-encoding", "identity"))))
        status, headers = ingest.respond_otlp() if ingest.respond_otlp is not None else (200, {})
        self._send(status, headers, {})

    def _reset(self) -> None:
        """Reset the connection in the middle of the answer."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        self._hang_up()

    def _hang_up(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    def _send(self, status: int, headers: Mapping[str, str], content: Json) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(payload)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Log nothing."""


def _decode(body: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise ValueError(f"unknown Content-Encoding {encoding!r}")
    return zlib.decompress(body, wbits=zlib.MAX_WBITS | 32)  # 32: gzip and zlib, by their headers
