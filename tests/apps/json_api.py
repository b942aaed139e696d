"""The base of servers that speak the API of a language model."""

from http.server import BaseHTTPRequestHandler


class JsonApi(BaseHTTPRequestHandler):
    """Answers with a text, and logs nothing."""

    def answer(self, body: str, status: int = 200, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        pass
