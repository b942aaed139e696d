"""An HTTP server to call: it answers by path and keeps the headers of what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HttpTarget(ThreadingHTTPServer):
    """`/status/<code>` answers with that code, `/stream` in chunks, anything else with 200.

    `/redirect` sends on to `/status/200`, `/slow` answers after half a second, or when the server ends.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        #: The headers of each request by its path, names in lower case; the latest if a path came twice.
        self.headers: dict[str, dict[str, str]] = {}
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def start_target() -> Iterator[HttpTarget]:
    """Serve on a free port for as long as the block lasts."""
    with HttpTarget() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="http-target", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HttpTarget

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.headers[path] = {name.lower(): value for name, value in self.headers.items()}
        code = int(path.rpartition("/")[2]) if path.startswith("/status/") else 302 if path == "/redirect" else 200
        if path == "/slow":
            self.server.closing.wait(0.5)
        chunks = [b"one ", b"two ", b"three"] if path == "/stream" else [b"hello"]
        self.send_response(code)
        self.send_header("Content-Length", str(sum(map(len, chunks))))
        if path == "/redirect":
            self.send_header("Location", "/status/200")
        self.end_headers()
        with suppress(OSError):  # who asked may have gone
            for chunk in chunks:
                self.wfile.write(chunk)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_BREW(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Stay silent; what was asked is in `headers`."""
