"""Serves hostile requests before and after `brain_otel.setup()`, and prints the answers to both as JSON.

Arguments: the configuration file, and the methods that raise of a span
processor of the application's.
"""

import asyncio
import http.server
import json
import random
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import redis
import redis.asyncio
import uvicorn
from fastapi import FastAPI, Request, WebSocket
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from sqlalchemy import create_engine, text

import brain_otel

Json = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
MISSING = object()
TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HOST = (b"host", b"shop")
GARBAGE = [
    b"a=\xff\\ud800",
    b"a=\xff\\x",
    b"\xff\\N{no such name}",
    b"\xff\\",
    b"\xfe\\u12",
    b"\xed\xa0\x80",
    b"\x00\xff",
    b"%ff%",
    b",,=;=,",
    b"9" * 5_000,
    b"-1",
    b"",
    TRACEPARENT + b"-\xff",
    b"sentry-trace_id=\xff\\ud800,sentry-sample_rand=nan",
]
NAMES = [b"baggage", b"traceparent", b"tracestate", b"sentry-trace", b"user-agent", b"host", b"content-length"]
ODD: dict[str, list[Any]] = {
    "client": [None, MISSING, [], ("unix:",), ("", 0), "1.2.3.4"],
    "server": [None, MISSING, [], ("/run/shop.sock", None), ("shop",), ("shop", "80")],
    "query_string": [MISSING, b"q=\xff", b"\xff\\ud800", "q=1", None, b"%ff=%"],
    "scheme": [MISSING, None, ""],
    "http_version": [MISSING, None],
    "root_path": [MISSING],
    "headers": [[[b"host", b"shop"]], [(b"\xff\\x", b"1")], [(b"\xff\\ud800", b"1")], [(b"\xff", b"\xff")] * 90, []],
    "method": [MISSING, "", "G\xcbT", None],
    "path": [MISSING, "/caf\udce9", "/\x00", ""],
    "type": ["odd", MISSING],
}


def create_app() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "answer"

    @app.websocket("/")
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("answer")
        await websocket.close()

    @app.get("/odd-answer")
    async def odd_answer(request: Request) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"\xff\\x", b"\xff\\ud800"), (b"content-length", b"6")]
            await send({"type": "http.response.start", "status": 299, "headers": headers})
            await send({"type": "http.response.body", "body": b"answer"})

        return type("Odd", (), {"__call__": lambda _, *args: app(*args), "background": None, "status_code": 299})()

    return app


def scopes() -> dict[str, Json]:
    """ASGI scopes: each header with each garbage, each field with each odd value, and 200 of both at random."""
    found: dict[str, Json] = {"usual": create_scope()}
    for name in NAMES:
        for number, value in enumerate(GARBAGE):
            given = [(name, value)] if name == b"host" else [HOST, (name, value)]
            if name == b"tracestate":
                given.append((b"traceparent", TRACEPARENT))
            found[f"{name.decode()} {number}"] = create_scope(headers=given)
    for field, values in ODD.items():
        for number, value in enumerate(values):
            found[f"{field} {number}"] = create_scope(**{field: value})
    chance = random.Random(14)
    for number in range(200):
        headers = [(chance.choice(NAMES), chance.choice(GARBAGE)[: chance.randrange(1, 60)]) for _ in range(4)]
        odd = {field: chance.choice(ODD[field]) for field in chance.sample(["client", "server", "scheme"], 2)}
        found[f"random {number}"] = create_scope(headers=[HOST, *headers], **odd)
    found["odd answer"] = create_scope(path="/odd-answer")
    return found


def create_scope(**fields: Any) -> Json:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [HOST],
        "client": ("127.0.0.1", 50_000),
        "server": ("shop", 80),
        **fields,
    }
    return {name: value for name, value in scope.items() if value is not MISSING}


async def answer(app: FastAPI, scope: Json) -> str:
    sent: list[Any] = []
    incoming = [{"type": "websocket.connect"} if scope.get("type") == "websocket" else {"type": "http.request"}]

    async def receive() -> Any:
        return incoming.pop() if incoming else {"type": "http.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception as error:
        sent.append(type(error).__name__)
    return str(sent)


async def asgi() -> Json:
    app, answers = create_app(), {}
    for name, scope in scopes().items():
        answers[name] = await answer(app, dict(scope))
        if "type" in scope and scope["type"] == "http" and scope.get("path") == "/":
            websocket = {**scope, "type": "websocket"}
            websocket.pop("method", None)
            answers[f"websocket {name}"] = await answer(app, websocket)
    return answers


def exchange(port: int, data: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while more := connection.recv(65_536):
            got += more
    head, _, body = got.partition(b"\r\n\r\n")
    return f"{head.splitlines()[:1]} {body!r}"


def raw() -> Json:
    """The same garbage as bytes on a connection to uvicorn."""
    server = uvicorn.Server(uvicorn.Config(create_app(), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    answers = {}
    close = b"connection: close\r\n"
    for name in NAMES:
        for number, value in enumerate(GARBAGE):
            host = b"" if name == b"host" else b"host: shop\r\n"
            parts = [b"GET /?q=", value[:40].replace(b" ", b""), b" HTTP/1.1\r\n", host, close, name, b": ", value]
            answers[f"raw {name.decode()} {number}"] = exchange(port, b"".join([*parts, b"\r\n\r\n"]))
    server.should_exit = True
    thread.join()
    return answers


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers with bytes that a header should not hold."""

    def do_GET(self) -> None:
        lines = [
            b"HTTP/1.1 299 \xff",
            b"x: \xff\\ud800",
            b"set-cookie: \xff",
            b"content-length: 6",
            b"connection: close",
        ]
        self.wfile.write(b"\r\n".join([*lines, b"", b"answer"]))
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


class Redis(socketserver.StreamRequestHandler):
    """Answers `+OK` to every command."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            if line[:1] == b"*":
                for _ in range(int(line[1:])):
                    size = int(self.rfile.readline()[1:])
                    self.rfile.read(size + 2)
                self.wfile.write(b"+OK\r\n")


async def calls() -> Json:
    """Calls of each client with odd arguments."""
    web = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering)
    store = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Redis)
    for server in (web, store):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    options: Json
    url, options = (
        f"http://user:%ff@127.0.0.1:{web.server_address[1]}/",
        {"port": store.server_address[1], "protocol": 2},
    )
    answers: Json = {}
    for name, value in {"usual": "a", "bytes": "%ff\xff", "long": "x" * 9_000}.items():
        with httpx.Client() as client:
            answers[f"httpx {name}"] = attempt(client.get, url, params={"q": value})
        async with httpx.AsyncClient() as other:
            answers[f"async httpx {name}"] = (await other.get(url, params={"q": value})).text
        with redis.Redis(**options) as cache:
            answers[f"redis {name}"] = attempt(cache.execute_command, "SET", value, b"\xff\\ud800")
            answers[f"redis bytes {name}"] = attempt(cache.execute_command, b"S\xff", value)
        shared: Any = redis.asyncio.Redis(**options)
        answers[f"async redis {name}"] = await shared.execute_command("SET", value, b"\xff")
        await shared.aclose()
        answers[f"sql {name}"] = attempt(statement, f"SELECT '{value}', '\udce9' -- \x00")
        answers[f"good sql {name}"] = attempt(statement, f"/* {value} */ SELECT 1")
    with httpx.Client() as client:
        answers["refused"] = attempt(client.get, "http://127.0.0.1:1/")
    for server in (web, store):
        server.shutdown()
        server.server_close()
    return answers


def statement(sql: str) -> Any:
    with create_engine("sqlite://").connect() as connection:
        return str(connection.execute(text(sql)).all())


def attempt(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    try:
        result = call(*args, **kwargs)
        return result.text if isinstance(result, httpx.Response) else str(result)
    except Exception as error:
        return type(error).__name__


class BrokenStart(SpanProcessor):
    def on_start(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("a processor of the application's")


class BrokenEnd(SpanProcessor):
    def on_end(self, *_: Any) -> None:
        raise RuntimeError("a processor of the application's")


def everything() -> Json:
    return {**asyncio.run(asgi()), **raw(), **asyncio.run(calls())}


def main() -> None:
    bare = everything()
    brain_otel.setup(config_file=sys.argv[1])
    for name in sys.argv[2:]:
        broken = {"on_start": BrokenStart, "on_end": BrokenEnd}[name]()
        trace.get_tracer_provider().add_span_processor(broken)  # type: ignore[attr-defined]  # the SDK's
    traced = everything()
    different = {name: (bare[name], traced[name]) for name in bare if bare[name] != traced[name]}
    print(json.dumps({"asked": len(bare), "different": different}))


if __name__ == "__main__":
    main()
