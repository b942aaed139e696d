"""Calls other methods of OpenAI's and Anthropic's clients: parsed, raw, of `beta`, and those that nobody observes.

Each case runs without telemetry and with it; what the application saw differently is printed.
"""

import asyncio
import functools
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import anthropic
import openai
from opentelemetry import context as otel_context

import brain_otel
from tests.apps.json_api import JsonApi
from tests.apps.model_answers import Json, chat, chat_chunks, message, message_events, response, response_events

ASKED: Json = {"messages": [{"role": "user", "content": os.environ["PROMPT"]}]}
SAID: Json = {"model": "claude-5", "max_tokens": 9, **ASKED}
ANSWERS: dict[str, tuple[Callable[[], Json], Callable[[], Iterator[Json]]]] = {
    "/v1/chat/completions": (chat, chat_chunks),
    "/v1/responses": (response, response_events),
    "/v1/messages": (message, message_events),
}


class Api(JsonApi):
    def do_POST(self) -> None:  # noqa: N802  # the name of the base class
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = self.path.partition("?")[0]
        if path not in ANSWERS:
            self.answer(json.dumps({"input_tokens": 11, "results": [], "id": "mod_1", "model": "m"}))
        elif asked.get("stream"):
            lines = [f"event: {each.get('type')}\ndata: {json.dumps(each)}\n\n" for each in ANSWERS[path][1]()]
            self.answer("".join(lines).replace("event: None\n", ""), kind="text/event-stream")
        else:
            self.answer(json.dumps(ANSWERS[path][0]()))


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"


def methods(gpt: Any, claude: Any) -> dict[str, tuple[Any, Json]]:
    """What makes a call -> the resource, and the arguments."""
    return {
        "chat": (gpt.chat.completions, {"model": "gpt-5", **ASKED}),
        "responses": (gpt.responses, {"model": "gpt-5", "input": os.environ["PROMPT"]}),
        "messages": (claude.messages, SAID),
        "beta messages": (claude.beta.messages, SAID),
    }


def seen(answer: Any) -> Any:
    return json.loads(answer.to_json()) if hasattr(answer, "to_json") else repr(answer)


def parse(resource: Any, asked: Json) -> Any:
    return seen(resource.parse(**asked))


def raw(resource: Any, asked: Json) -> Any:
    answer = resource.with_raw_response.create(**asked)
    return [answer.status_code, seen(answer.parse()), seen(answer.parse())]


def raw_unparsed(resource: Any, asked: Json) -> Any:
    return resource.with_raw_response.create(**asked).headers["content-type"]


def raw_text(resource: Any, asked: Json) -> Any:
    return resource.with_raw_response.create(**asked).http_response.json()


def raw_stream(resource: Any, asked: Json) -> Any:
    return [seen(each) for each in resource.with_raw_response.create(**asked, stream=True).parse()]


def raw_stream_lines(resource: Any, asked: Json) -> Any:
    return list(resource.with_raw_response.create(**asked, stream=True).http_response.iter_lines())


def streaming(resource: Any, asked: Json) -> Any:
    with resource.with_streaming_response.create(**asked) as answer:
        return seen(answer.parse())


def streaming_lines(resource: Any, asked: Json) -> Any:
    with resource.with_streaming_response.create(**asked) as answer:
        return list(answer.iter_lines())


def streaming_unread(resource: Any, asked: Json) -> Any:
    with resource.with_streaming_response.create(**asked) as answer:
        return answer.headers["content-type"]


def streaming_own(resource: Any, asked: Json) -> Any:
    try:
        with resource.with_streaming_response.create(**asked):
            raise OSError("own")
    except OSError as error:
        return repr(error)


def streaming_stream(resource: Any, asked: Json) -> Any:
    with resource.with_streaming_response.create(**asked, stream=True) as answer:
        return [seen(each) for each in answer.parse()]


async def parse_async(resource: Any, asked: Json) -> Any:
    return seen(await resource.parse(**asked))


async def raw_async(resource: Any, asked: Json) -> Any:
    answer = await resource.with_raw_response.create(**asked)
    parsed = answer.parse()
    return seen(await parsed if asyncio.iscoroutine(parsed) else parsed)


async def raw_unparsed_async(resource: Any, asked: Json) -> Any:
    return (await resource.with_raw_response.create(**asked)).headers["content-type"]


async def streaming_async(resource: Any, asked: Json) -> Any:
    async with resource.with_streaming_response.create(**asked) as answer:
        return seen(await answer.parse())


async def streaming_lines_async(resource: Any, asked: Json) -> Any:
    async with resource.with_streaming_response.create(**asked) as answer:
        return [each async for each in answer.iter_lines()]


async def streaming_elsewhere(resource: Any, asked: Json) -> Any:
    """The response is made, read and closed in three tasks."""
    manager = resource.with_streaming_response.create(**asked)
    answer = await asyncio.create_task(manager.__aenter__())
    text = await asyncio.create_task(answer.text())
    await asyncio.create_task(manager.__aexit__(None, None, None))
    return text


WAYS: list[Callable[[Any, Json], Any]] = [parse, raw, raw_unparsed, raw_text, raw_stream, raw_stream_lines]
WAYS += [streaming, streaming_lines, streaming_unread, streaming_own, streaming_stream]
ASYNC_WAYS: list[Callable[[Any, Json], Any]] = [
    parse_async,
    raw_async,
    raw_unparsed_async,
    streaming_async,
    streaming_lines_async,
    streaming_elsewhere,
]


def unseen(gpt: Any, claude: Any) -> dict[str, Callable[[], Any]]:
    """Calls of methods that nobody observes."""
    return {
        "count": lambda: claude.messages.count_tokens(model="claude-5", **ASKED),
        "beta count": lambda: claude.beta.messages.count_tokens(model="claude-5", **ASKED),
        "moderation": lambda: gpt.moderations.create(input="?"),
    }


async def run(observe: Callable[[str, Callable[[], Any]], Awaitable[None]]) -> None:
    given: Json = {"api_key": "none", "max_retries": 0}
    with (
        openai.OpenAI(base_url=f"{address}/v1", **given) as gpt,
        anthropic.Anthropic(base_url=address, **given) as claude,
    ):
        for name, (resource, asked) in methods(gpt, claude).items():
            for way in WAYS:
                await observe(f"{name} {way.__name__}", functools.partial(way, resource, asked))
        for name, call in unseen(gpt, claude).items():
            await observe(name, lambda call=call: seen(call()))  # type: ignore[misc]
    async with (
        openai.AsyncOpenAI(base_url=f"{address}/v1", **given) as gpt,
        anthropic.AsyncAnthropic(base_url=address, **given) as claude,
    ):
        for name, (resource, asked) in methods(gpt, claude).items():
            for way in ASYNC_WAYS:
                await observe(f"{name} {way.__name__}", functools.partial(way, resource, asked))


bare: dict[str, Any] = {}
different: dict[str, Any] = {}


async def result(end: Callable[[], Any]) -> Any:
    try:
        got = end()
        return await got if asyncio.iscoroutine(got) else got
    except Exception as error:
        return repr(error)


async def watch(name: str, end: Callable[[], Any]) -> None:
    bare[name] = await result(end)


asyncio.run(run(watch))
brain_otel.setup()


async def trace_one(name: str, end: Callable[[], Any]) -> None:
    with brain_otel.start_transaction(name, op="task"):
        context = otel_context.get_current()
        got = await result(end)
        if got != bare[name] or otel_context.get_current() is not context:
            different[name] = [bare[name], got]


asyncio.run(run(trace_one))
assert brain_otel.flush(10)
print(json.dumps({"cases": [*bare], "different": different}))
