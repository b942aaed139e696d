"""A receiver that speaks OTLP over HTTP and gRPC, and keeps everything it receives.

    with OtlpReceiver() as receiver:            # grpc=True for gRPC as well, tls=self_signed(tmp_path) for TLS
        ...                                     # send to receiver.endpoint, or receiver.grpc_endpoint
        receiver.wait_for(lambda it: len(it.spans) == 3)

A test can change the answers at any time: `receiver.status = 503`, `.delay = 2.0`, `.hanging = True`,
`.resetting = True`. `with refusing() as endpoint` gives an endpoint that refuses connections.
"""

import socket
import ssl
import struct
import subprocess
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.otlp_data import KINDS, LogRecord, Metric, Span, log_records_of, metrics_of, spans_of
from tests.support.waiting import PATIENCE

_GRPC_STATUS = {
    0: "UNAVAILABLE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


@dataclass(kw_only=True)
class Request:
    """One export request. Names in `headers` (for gRPC: the metadata) are in lower case.

    Over HTTP, `headers` also holds `:path` and `:peer`, the port of the client.
    """

    protocol: str
    signal: str
    headers: Mapping[str, str]
    message: Any = field(repr=False)
    #: The status of the answer: 200 is success for gRPC too, 0 a reset connection; None before the answer.
    status: int | None = None


class OtlpReceiver:
    """A collector on free ports of 127.0.0.1, until its `with` block ends.

    `requests` holds every request in order of arrival; `spans`, `log_records` and `metrics` hold the content of
    the requests that got the answer 200. Answers anything but OTLP with 400 or 404 and names it in `rejected`.
    """

    def __init__(self, *, grpc: bool = False, tls: tuple[Path, Path] | None = None) -> None:
        self.requests: list[Request] = []
        self.rejected: list[str] = []
        #: The status of the answers. gRPC gets the equivalent of 401, 403, 429 and 503, and `INTERNAL` for others.
        self.status: int = 200
        #: Returns the status and headers of the next answer; overrides `status`.
        self.respond: Callable[[], tuple[int, dict[str, str]]] | None = None
        #: The body of the answers, a serialized response message over gRPC; None: an empty message.
        self.answer: bytes | None = None
        #: Seconds between the arrival of a request and its answer.
        self.delay: float = 0.0
        #: Holds back every answer while it is True.
        self.hanging: bool = False
        #: Resets the connection instead of an answer; over gRPC, answers `UNAVAILABLE`.
        self.resetting: bool = False
        self._tls = tls
        self._arrival = threading.Condition()
        self._closing = threading.Event()
        self._http = _Server(self)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._http.socket = context.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="otlp", daemon=True)
        self._grpc_server: Any = None
        self.grpc_port = 0
        if grpc:
            self._grpc_server, self.grpc_port = _grpc_server(self, tls)

    @property
    def port(self) -> int:
        return self._http.server_port

    @property
    def endpoint(self) -> str:
        """The base address for HTTP."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def grpc_endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.grpc_port}"

    @property
    def accepted(self) -> list[Request]:
        """The requests that got the answer 200."""
        with self._arrival:
            return [request for request in self.requests if request.status == 200]

    @property
    def spans(self) -> list[Span]:
        return [span for each in self.accepted if each.signal == "traces" for span in spans_of(each.message)]

    @property
    def log_records(self) -> list[LogRecord]:
        return [record for each in self.accepted if each.signal == "logs" for record in log_records_of(each.message)]

    @property
    def metrics(self) -> list[Metric]:
        """The metrics of all requests: a metric appears once a request, and its later values are cumulative."""
        return [metric for each in self.accepted if each.signal == "metrics" for metric in metrics_of(each.message)]

    def span(self, name: str) -> Span:
        """Return the only span of this name; fail if there is none or more than one."""
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{len(found)} spans {name!r}; {self.describe()}"
        return found[0]

    def clear(self) -> None:
        """Forget what has arrived so far."""
        with self._arrival:
            self.requests.clear()
            self.rejected.clear()

    def wait_for(
        self, predicate: Callable[["OtlpReceiver"], bool], timeout: float = PATIENCE, message: str = ""
    ) -> None:
        """Wait until the predicate holds. After `timeout` seconds, fail with a list of what arrived."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"{message or 'not sent'} within {timeout:g} s; {self.describe()}")

    def describe(self) -> str:
        """Summarize what has arrived, for the message of a failing test."""
        requests = Counter(f"{each.protocol} {each.signal} -> {each.status}" for each in self.requests)
        spans = [span.name for span in self.spans]
        records = [record.body for record in self.log_records]
        metrics = sorted({metric.name for metric in self.metrics})
        return f"{dict(requests)}, spans: {spans}, logs: {records}, metrics: {metrics}, rejected: {self.rejected}"

    def __enter__(self) -> Self:
        self._thread.start()
        if self._grpc_server is not None:
            self._grpc_server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._grpc_server is not None:
            self._grpc_server.stop(0.2).wait(5)
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _receive(self, request: Request) -> tuple[int, dict[str, str]]:
        """Keep the request, delay the answer, and return its status (0: a reset) and headers."""
        with self._arrival:
            self.requests.append(request)
            self._arrival.notify_all()
        self._closing.wait(self.delay)
        while self.hanging and not self._closing.wait(0.02):
            pass
        status, headers = self.respond() if self.respond is not None else (self.status, {})
        if self.resetting or (self.hanging and self._closing.is_set()):
            status = 0
        with self._arrival:
            request.status = status
            self._arrival.notify_all()
        return status, headers

    def _reject(self, reason: str) -> None:
        with self._arrival:
            self.rejected.append(reason)


@contextmanager
def refusing() -> Iterator[str]:
    """Reserve a port that refuses every connection, and give its address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def self_signed(directory: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1 and localhost, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return certificate, key


def _grpc_server(receiver: OtlpReceiver, tls: tuple[Path, Path] | None) -> tuple[Any, int]:
    import grpc  # type: ignore[import-untyped]  # each set-up of a process that has it takes longer

    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    for signal, (request_type, response_type, service) in KINDS.items():

        def export(message: Any, context: Any, signal: str = signal, response_type: Any = response_type) -> Any:
            headers = {each.key: each.value for each in context.invocation_metadata()}
            request = Request(protocol="grpc", signal=signal, headers=headers, message=message)
            status, _ = receiver._receive(request)
            if status != 200:
                code = grpc.StatusCode[_GRPC_STATUS.get(status, "INTERNAL")]
                context.abort(code, f"told to answer {status}")
            return response_type.FromString(receiver.answer or b"")

        handler = grpc.unary_unary_rpc_method_handler(
            export, request_type.FromString, response_type.SerializeToString
        )
        name = f"opentelemetry.proto.collector.{service}"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": handler}),))
    if tls is None:
        return server, server.add_insecure_port("127.0.0.1:0")
    certificate, key = (path.read_bytes() for path in tls)
    return server, server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))


class _Server(ThreadingHTTPServer):
    """Closes its open connections at the end of the test."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, receiver: OtlpReceiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        signal = self.path.rpartition("/v1/")[2]
        if signal not in KINDS:
            receiver._reject(f"POST {self.path}")
            self._send(404, {}, b"")
            return
        request_type, response_type, _ = KINDS[signal]
        names = {name.lower(): value for name, value in self.headers.items()}
        try:
            if names.get("content-encoding", "identity") != "identity":
                body = zlib.decompress(body, wbits=zlib.MAX_WBITS | 32)  # gzip and zlib, by their headers
            message = request_type.FromString(body)
        except Exception as error:
            receiver._reject(f"{type(error).__name__}: {error} in {body[:200]!r}")
            self._send(400, {}, b"")
            return
        request = Request(
            protocol="http",
            signal=signal,
            headers={**names, ":path": self.path, ":peer": str(self.client_address[1])},
            message=message,
        )
        status, headers = receiver._receive(request)
        if status:
            answer = receiver.answer
            self._send(status, headers, response_type().SerializeToString() if answer is None else answer)
        else:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _send(self, status: int, headers: Mapping[str, str], payload: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/x-protobuf", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Log nothing."""
