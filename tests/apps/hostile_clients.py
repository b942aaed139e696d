"""Calls other libraries with odd arguments and gets odd answers, before and after `brain_otel.setup()`.

Prints the names of all calls, those that ended otherwise with telemetry, and the failures that were logged, as JSON.
"""

import asyncio
import json
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import openai
import requests
import urllib3

import brain_otel

Json = dict[str, Any]
MESSAGES: list[Any] = [{"role": "user", "content": "a"}]
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
CHAT: Json = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
ANSWERS: dict[str, Any] = {
    "usual": {**CHAT, "choices": [CHOICE]},
    "no choices": CHAT,
    "a number of choices": {**CHAT, "choices": 7},
    "a text of choices": {**CHAT, "choices": "x"},
    "no choice": {**CHAT, "choices": [None]},
    "nested choices": {**CHAT, "choices": [[1]]},
    "a number as delta": {**CHAT, "choices": [{"delta": 7}]},
    "calls without an index": {**CHAT, "choices": [{"index": 0, "delta": {"tool_calls": [{"index": None}]}}]},
    "a text as usage": {**CHAT, "choices": [CHOICE], "usage": "x"},
    "a list as usage": {**CHAT, "choices": [CHOICE], "usage": [None]},
    "endless usage": {**CHAT, "choices": [CHOICE], "usage": {"prompt_tokens": 1e400}},
    "no answer": None,
    "a list": [1],
    "a text": "x",
}


class Raising:
    """Everything that could make a text of it raises."""

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __bytes__ = __format__ = __str__  # type: ignore[assignment]


class Text(str):
    """A text whose methods raise; that of the connection, `encode`, does not."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("text")

    __str__ = __repr__ = __format__ = lower = upper = _raise
    strip = split = partition = _raise  # type: ignore[assignment]
    __hash__ = str.__hash__


class Bytes(bytes):
    def decode(self, *_: object) -> Any:
        raise RuntimeError("decode")


class Items(list[Any]):
    def __len__(self) -> int:
        raise RuntimeError("len")

    def __iter__(self) -> Any:
        raise RuntimeError("iter")


ODD: dict[str, Callable[[], Any]] = {
    "object": Raising,
    "text": lambda: Text("GET"),
    "bytes": lambda: Bytes(b"GET"),
    "items": lambda: Items(["GET"]),
    "none": lambda: None,
    "number": lambda: 7,
}


class Server(BaseHTTPRequestHandler):
    """Answers a model's call with what is asked for in its header, and others with bytes that are no text."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"] or 0))
        answer = json.dumps(ANSWERS[self.headers["x-answer"] or "usual"])
        is_stream = self.headers["x-stream"] == "1"
        body = f"data: {answer}\n\ndata: [DONE]\n\n" if is_stream else answer
        kind = "text/event-stream" if is_stream else "application/json"
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.wfile.write((head + body).encode())
        self.close_connection = True

    def do_GET(self) -> None:
        lines = [b"HTTP/1.1 299 \xff\\x", b"x: \xff\\ud800", b"set-cookie: \xff", b"content-length: 6"]
        self.wfile.write(b"\r\n".join([*lines, b"connection: close", b"", b"answer"]))
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def model_calls(base: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    options: Json = {"base_url": f"{base}v1", "api_key": "k", "max_retries": 0}
    client, others = openai.OpenAI(**options), openai.AsyncOpenAI(**options)

    def ask(create: Callable[..., Any], name: str, **given: Any) -> Any:
        headers = {"x-answer": name, "x-stream": str(int("stream" in given))}
        return create(model="m", extra_headers=headers, **given)

    async def streamed(name: str) -> list[str]:
        stream: AsyncIterator[Any] = await ask(others.chat.completions.create, name, messages=MESSAGES, stream=True)
        return [str(each) async for each in stream]

    chat, other = client.chat.completions.create, others.chat.completions.create
    for name in ANSWERS:
        yield f"chat: {name}", lambda name=name: ask(chat, name, messages=MESSAGES)  # type: ignore[misc]
        yield f"async chat: {name}", lambda name=name: ask(other, name, messages=MESSAGES)  # type: ignore[misc]
        yield f"stream: {name}", lambda name=name: list(ask(chat, name, messages=MESSAGES, stream=True))  # type: ignore[misc]
        yield f"async stream: {name}", lambda name=name: streamed(name)  # type: ignore[misc]
        yield f"response: {name}", lambda name=name: ask(client.responses.create, name, input="a")  # type: ignore[misc]
    for name, make in ODD.items():
        yield f"model: {name}", lambda make=make: client.embeddings.create(model=make(), input="a")  # type: ignore[misc]
        yield f"stop: {name}", lambda make=make: chat(model="m", messages=MESSAGES, stop=make())  # type: ignore[misc]


def web_calls(base: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    session, pool = requests.Session(), urllib3.PoolManager(retries=False)

    async def fetch(**given: Any) -> Any:
        async with (
            aiohttp.ClientSession() as client,
            client.request(**{"method": "GET", "url": base, **given}) as got,
        ):
            return got.status, await got.read()

    def prepared(**fields: Any) -> Any:
        request = requests.Request("GET", base).prepare()
        vars(request).update(fields)
        return session.send(request).text

    for name, make in ODD.items():
        yield f"requests method: {name}", lambda make=make: prepared(method=make())  # type: ignore[misc]
        yield f"requests url: {name}", lambda make=make: prepared(url=make())  # type: ignore[misc]
        yield f"requests headers: {name}", lambda make=make: prepared(headers=make())  # type: ignore[misc]
        yield f"urllib3 method: {name}", lambda make=make: pool.request(make(), base).status  # type: ignore[misc]
        yield f"urllib3 url: {name}", lambda make=make: pool.request("GET", make()).status  # type: ignore[misc]
        yield f"aiohttp method: {name}", lambda make=make: fetch(method=make())  # type: ignore[misc]
        yield f"aiohttp header: {name}", lambda make=make: fetch(headers={"x": make()})  # type: ignore[misc]
        yield f"aiohttp context: {name}", lambda make=make: fetch(trace_request_ctx=make())  # type: ignore[misc]


def statements() -> Iterator[tuple[str, Callable[[], Any]]]:
    def execute(*given: Any) -> Any:
        connection = sqlite3.connect(":memory:")
        try:
            return connection.cursor().execute(*given).fetchall()
        finally:
            connection.close()

    for name, make in ODD.items():
        yield f"statement: {name}", lambda make=make: execute(make())  # type: ignore[misc]
        yield f"parameter: {name}", lambda make=make: execute(Text("SELECT ?"), (make(),))  # type: ignore[misc]
        yield f"parameters: {name}", lambda make=make: execute("SELECT 1", make())  # type: ignore[misc]


async def ended(call: Callable[[], Any]) -> str:
    try:
        result = call()
        return str(await result if asyncio.iscoroutine(result) else result)
    except Exception as error:
        return f"{type(error).__name__} {error.args!s:.60}" if not isinstance(error, RuntimeError) else "RuntimeError"


async def everything(base: str) -> dict[str, str]:
    calls = [*model_calls(base), *web_calls(base), *statements()]
    return {name: await ended(call) for name, call in calls}


class Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.places += [str(record.args[0])] if isinstance(record.args, tuple) and record.args else []


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/"
    bare = asyncio.run(everything(base))
    failures = Failures()
    logging.getLogger("brain_otel.runtime.guard").addHandler(failures)
    brain_otel.setup()
    traced = asyncio.run(everything(base))
    different = {name: (bare[name], traced[name]) for name in bare if bare[name] != traced[name]}
    brain_otel.shutdown()
    removed = asyncio.run(everything(base))
    different |= {f"{name} afterwards": (bare[name], removed[name]) for name in bare if bare[name] != removed[name]}
    print(json.dumps({"asked": list(bare), "different": different, "failures": failures.places}))


if __name__ == "__main__":
    main()
