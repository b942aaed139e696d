"""Uses every instrumentation in one process, sends to Sentry, and prints what the application saw as JSON.

It brings its own HTTP server and its own Redis server, whose search answers with a document. SECRET is in every place
that is masked.
"""

import asyncio
import gc
import json
import logging
import os
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import redis
import redis.asyncio
from fastapi import BackgroundTasks, FastAPI, Response
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

import brain_otel

brain_otel.setup()

SECRET = os.environ["SECRET"]


class RedisHandler(socketserver.StreamRequestHandler):
    """Answers OK, and a search with one document."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            command = [self._argument() for _ in range(int(line[1:]))]
            document = f"*2\r\n$5\r\ntitle\r\n${len(SECRET)}\r\n{SECRET}\r\n"
            found = f"*3\r\n:1\r\n$1\r\n7\r\n{document}".encode()
            self.wfile.write(found if command[0] == b"FT.SEARCH" else b"+OK\r\n")

    def _argument(self) -> bytes:
        size = int(self.rfile.readline()[1:])
        return self.rfile.read(size + 2)[:size]


class HttpHandler(BaseHTTPRequestHandler):
    """Answers with the trace headers that came."""

    def do_GET(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        names = ",".join(name for name in ("traceparent", "sentry-trace", "baggage") if name in self.headers)
        self.send_header("Content-Length", str(len(names)))
        self.end_headers()
        self.wfile.write(names.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        """Stay silent."""


def start(server: socketserver.TCPServer) -> int:
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return int(server.server_address[1])


socketserver.ThreadingTCPServer.daemon_threads = True
REDIS = start(socketserver.ThreadingTCPServer(("127.0.0.1", 0), RedisHandler))
TARGET = f"http://user:{SECRET}@127.0.0.1:{start(ThreadingHTTPServer(('127.0.0.1', 0), HttpHandler))}"

app, mounted = FastAPI(), FastAPI()
app.mount("/mounted", mounted)
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
cache: Any = redis.Redis(port=REDIS, protocol=2)
async_cache = redis.asyncio.Redis(port=REDIS, protocol=2)


@app.get("/healthz")
def health() -> str:
    return "well"


@app.get("/sql/{number}")
def sql(number: int) -> list[Any]:
    with engine.connect() as connection:
        rows = list(connection.execute(text(f"SELECT :number, 'password={SECRET}'"), {"number": number}).one())
    with engine.execution_options(logging_token="option").connect() as connection:  # no password
        rows += list(connection.execute(text("SELECT 8")).one())
    return rows


@app.get("/redis/{number}")
async def commands(number: int) -> list[str]:
    found: list[Any] = [cache.set(f"token:{number}", SECRET), cache.execute_command(f"SET password {SECRET}")]
    found.append(cache.execute_command("FT.SEARCH", "orders", f"password={SECRET}"))
    with cache.pipeline() as pipeline:
        pipeline.set("password", SECRET)
        pipeline.get("password")
        found.append(pipeline.execute())
    found += [await async_cache.set("password", SECRET), await async_cache.get("a")]
    return [str(each) for each in found]


@app.get("/http/{number}")
async def call(number: int) -> list[Any]:
    path = f"/things/{number}?api_key={SECRET}"
    with httpx.Client(trust_env=False, verify=False) as client:
        found = [client.get(TARGET + path), client.get(f"{TARGET}/missing")]
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        found.append(await client.get(TARGET + path))
        try:
            await client.get(f"http://127.0.0.1:1/{number}")
        except httpx.ConnectError as error:
            return [*((each.status_code, each.text) for each in found), type(error).__name__]
    raise AssertionError


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(lambda: None)
    return "later"


@app.get("/task")
async def lost_task() -> str:
    async def fail() -> None:
        raise LookupError(f"password={SECRET}")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0.01)
    del task
    gc.collect()
    return "started"


@app.get("/logged")
def logged() -> str:
    logging.getLogger("shop").error("password=%s", SECRET)
    return "told"


@app.get("/fails/{number}")
def fails(number: int) -> None:
    raise ValueError(f"password={SECRET}", number)


@mounted.get("/items/{number}")
def item(number: int) -> Response:
    return Response(b"\xff\x00", status_code=203, headers={"x-number": str(number)})


PATHS: tuple[str, ...] = ("/healthz", "/sql/7", "/redis/7", "/http/7", "/background", "/task", "/logged", "/fails/7")
PATHS += ("/mounted/items/7", "/nowhere")
CALLER = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "baggage": "sentry-public_key=other"}
UNSAMPLED = {"traceparent": f"00-{'c' * 32}-{'d' * 16}-00"}


async def main() -> None:
    seen: list[Any] = []
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://shop", headers={"user-agent": "test"}
    ) as client:
        for path in PATHS:
            for headers in ({}, CALLER, UNSAMPLED):
                try:
                    answer = await client.get(f"{path}?password={SECRET}", headers=headers)
                except Exception as error:
                    seen.append([path, repr(error)])
                else:
                    seen.append([path, answer.status_code, sorted(answer.headers.items()), answer.content.hex()])
    await async_cache.aclose()
    print(json.dumps(seen))


logging.getLogger("asyncio").setLevel(logging.CRITICAL)
asyncio.run(main())
if not brain_otel.flush(10):
    sys.exit("not everything was sent")
