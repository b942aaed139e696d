"""Ends streams of OpenAI's and Anthropic's clients before their end, without telemetry and with it.

Prints what the application saw in each case that differs, and the cases whose span had not ended with them.
"""

import asyncio
import functools
import gc
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

import anthropic
import openai
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

import brain_otel
from tests.apps.json_api import JsonApi
from tests.apps.model_answers import ANSWER, Json, chat_chunks, message_events, response_events

EVENTS: dict[str, Callable[[], Iterator[Json]]] = {
    "/v1/chat/completions": chat_chunks,
    "/v1/responses": response_events,
    "/v1/messages": message_events,
}


class Api(JsonApi):
    """Breaks the connection after the first piece of text, or sends nothing more, if the model is called so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802  # the name of the base class
        model = json.loads(self.rfile.read(int(self.headers["content-length"])))["model"]
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()
        with suppress(OSError):
            for event in EVENTS[self.path.partition("?")[0]]():
                text = json.dumps(event)
                name = f"event: {event['type']}\n" if "type" in event else ""
                self.send_chunk(f"{name}data: {text}\n\n")
                if ANSWER in text and model == "stalled":
                    self.rfile.read(1)
                if ANSWER in text and model == "cut":
                    return
                if ANSWER in text and model == "failing":
                    said = {"type": "error", "code": "overloaded", "error": {"message": "Overloaded"}}
                    self.send_chunk(f"event: error\ndata: {json.dumps({**said, 'message': 'Overloaded'})}\n\n")
            self.send_chunk("")

    def send_chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

ASKED: Json = {"messages": [{"role": "user", "content": os.environ["PROMPT"]}]}
Seen = list[object]


def calls(gpt: Any, claude: Any) -> dict[str, Callable[[str], Any]]:
    return {
        "chat": lambda model: gpt.chat.completions.create(model=model, stream=True, **ASKED),
        "responses": lambda model: gpt.responses.create(model=model, stream=True, input="?"),
        "messages": lambda model: claude.messages.create(model=model, stream=True, max_tokens=9, **ASKED),
        "beta": lambda model: claude.beta.messages.create(model=model, stream=True, max_tokens=9, **ASKED),
        "chat.stream": lambda model: gpt.chat.completions.stream(model=model, **ASKED),
        "responses.stream": lambda model: gpt.responses.stream(model=model, input="?"),
        "messages.stream": lambda model: claude.messages.stream(model=model, max_tokens=9, **ASKED),
        "beta.stream": lambda model: claude.beta.messages.stream(model=model, max_tokens=9, **ASKED),
    }


def kind(chunk: Any) -> str:
    return str(getattr(chunk, "type", type(chunk).__name__))


class OwnError(Exception):
    """An error of the application."""


def all_of(call: Callable[[str], Any], model: str) -> Iterator[object]:
    with call(model) as stream:
        yield from map(kind, stream)


async def all_of_async(call: Callable[[str], Any], model: str) -> AsyncIterator[object]:
    called = call(model)
    async with await called if hasattr(called, "__await__") else called as stream:
        async for chunk in stream:
            yield kind(chunk)


def read(model: str) -> Callable[[Callable[[str], Any]], Seen]:
    def end(call: Callable[[str], Any]) -> Seen:
        seen: Seen = []
        try:
            seen.extend(all_of(call, model))
        except Exception as error:
            seen += [type(error).__name__, str(error), repr(error.__cause__)]
        return seen

    return end


def read_async(model: str) -> Callable[[Callable[[str], Any]], Awaitable[Seen]]:
    async def end(call: Callable[[str], Any]) -> Seen:
        seen: Seen = []
        try:
            async for each in all_of_async(call, model):
                seen.append(each)
        except Exception as error:
            seen += [type(error).__name__, str(error), repr(error.__cause__)]
        return seen

    return end


def leave_block(call: Callable[[str], Any]) -> Seen:
    with call("whole") as stream:
        for chunk in stream:
            return [kind(chunk)]
    return []


def raise_own(call: Callable[[str], Any]) -> Seen:
    try:
        with call("whole") as stream:
            raise OwnError(kind(next(iter(stream))))
    except OwnError as error:
        return [repr(error)]


def close_generator(call: Callable[[str], Any]) -> Seen:
    generator = all_of(call, "whole")
    seen = [next(generator)]
    generator.close()  # type: ignore[attr-defined]
    return seen


def leave_loop(call: Callable[[str], Any]) -> Seen:
    for chunk in call("whole"):
        return [kind(chunk)]
    return []


def read_nothing(call: Callable[[str], Any]) -> Seen:
    with call("whole"):
        return []


def close_response(call: Callable[[str], Any]) -> Seen:
    stream = call("whole")
    seen: Seen = [kind(next(stream))]
    stream.response.close()
    return seen


async def close_generator_async(call: Callable[[str], Any]) -> Seen:
    generator: Any = all_of_async(call, "whole")
    seen = [await anext(generator)]
    await generator.aclose()
    return seen


async def leave_loop_async(call: Callable[[str], Any]) -> Seen:
    async for chunk in await call("whole"):
        return [kind(chunk)]
    return []


async def cancel(call: Callable[[str], Any]) -> Seen:
    seen: Seen = []

    async def reading() -> None:
        async for each in all_of_async(call, "stalled"):
            seen.append(each)
            waiting.set()

    waiting = asyncio.Event()
    task = asyncio.create_task(reading())
    await waiting.wait()
    await asyncio.sleep(0.05)  # the rest of what the server sends
    task.cancel()
    try:
        await task
    except asyncio.CancelledError as error:
        seen.append(repr(error))
    return seen


async def read_elsewhere(call: Callable[[str], Any]) -> Seen:
    """The stream is made, read and closed in three tasks, as Starlette's streaming response does."""

    async def first(stream: Any) -> str:
        return kind(await anext(aiter(stream)))

    stream = await call("whole")
    seen: Seen = [await asyncio.create_task(first(stream))]
    await asyncio.create_task(stream.close())
    return seen


BLOCKS = {
    **{model: read(model) for model in ("whole", "cut", "failing")},
    **{each.__name__: each for each in (leave_block, raise_own, close_generator, read_nothing)},
}
ASYNC_BLOCKS = {
    **{model: read_async(model) for model in ("whole", "cut", "failing")},
    **{each.__name__: each for each in (close_generator_async, cancel)},
}
LOOSE = {each.__name__: each for each in (leave_loop, close_response)}
ASYNC_LOOSE = {each.__name__: each for each in (leave_loop_async, read_elsewhere)}
"""Ways to end a stream that nobody has entered as a block."""


def cases(clients: tuple[Any, Any], blocks: Json, loose: Json) -> Iterator[tuple[str, Callable[[], Any]]]:
    for name, call in calls(*clients).items():
        for ending, end in (blocks if name.endswith(".stream") else {**blocks, **loose}).items():
            yield f"{name} {ending}", functools.partial(end, call)


async def run(observe: Callable[[str, Callable[[], Any]], Awaitable[None]]) -> None:
    given: Json = {"api_key": "none", "max_retries": 0}
    with (
        openai.OpenAI(base_url=f"{address}/v1", **given) as gpt,
        anthropic.Anthropic(base_url=address, **given) as claude,
    ):
        for name, end in cases((gpt, claude), BLOCKS, LOOSE):
            await observe(name, end)
    async with (
        openai.AsyncOpenAI(base_url=f"{address}/v1", **given) as gpt,
        anthropic.AsyncAnthropic(base_url=address, **given) as claude,
    ):
        for name, end in cases((gpt, claude), ASYNC_BLOCKS, ASYNC_LOOSE):
            await observe(f"async {name}", end)


class Ended(SpanProcessor):
    """Counts the spans of models that have ended."""

    count = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.count += "gen_ai.operation.name" in (span.attributes or {})


bare: dict[str, Seen] = {}
different: dict[str, list[Seen]] = {}
late: list[str] = []


async def watch(name: str, end: Callable[[], Any]) -> None:
    seen = end()
    bare[name] = await seen if asyncio.iscoroutine(seen) else seen


asyncio.run(run(watch))
brain_otel.setup()
ended = Ended()
provider: Any = trace.get_tracer_provider()
provider.add_span_processor(ended)


async def trace_one(name: str, end: Callable[[], Any]) -> None:
    before = ended.count
    with brain_otel.start_transaction(name, op="task"):
        context = otel_context.get_current()
        seen = end()
        seen = await seen if asyncio.iscoroutine(seen) else seen
        if ended.count != before + 1 or otel_context.get_current() is not context:
            late.append(name)
        if seen != bare[name]:
            different[name] = [bare[name], seen]


gc.disable()  # a span ends as soon as the application has no stream any more
asyncio.run(run(trace_one))
assert brain_otel.flush(10)
print(json.dumps({"cases": sorted(bare), "different": different, "late": late}))
