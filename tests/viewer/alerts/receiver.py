"""A receiver of alerts: a real HTTP server that keeps what it gets and answers as the test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self


class Got(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


class AlertReceiver:
    """Listens on ``port`` until the block ends; ``answers`` are bytes for the next requests, then 200."""

    def __init__(self, port: int, answers: tuple[bytes, ...] = ()) -> None:
        self.got: list[Got] = []
        self.url = f"http://127.0.0.1:{port}"
        waiting = list(answers)
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                got.append(Got(self.path, {k.lower(): v for k, v in self.headers.items()}, raw))
                self.close_connection = True
                self.wfile.write(waiting.pop(0) if waiting else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
