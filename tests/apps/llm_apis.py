"""Calls a server for OpenAI's responses and embeddings and Anthropic's messages: plain, streamed, with errors.

The texts come from variables, so that no source line holds them.
"""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import anthropic
import openai

import brain_otel
from tests.apps.json_api import JsonApi
from tests.apps.model_answers import ANSWER, ARGUMENT, CALL, Json, message, message_events, response, response_events

brain_otel.setup()

PROMPT, KEY = os.environ["PROMPT"], os.environ["KEY"]


def respond(asked: Json) -> Json | Iterator[Json]:
    if asked.get("stream"):
        return response_events()
    return response(output=[CALL]) if asked.get("tools") else response()


def embed(asked: Json) -> Json:
    vectors = [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5, 0.75]}]
    return {
        "object": "list",
        "model": asked["model"],
        "data": vectors,
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }


def speak(asked: Json) -> Json | Iterator[Json]:
    if asked.get("stream"):
        return message_events()
    used = [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": ARGUMENT}}]
    return message(content=used, stop_reason="tool_use") if asked.get("tools") else message()


ANSWERS: dict[str, Callable[[Json], Json | Iterator[Json]]] = {
    "/v1/responses": respond,
    "/v1/embeddings": embed,
    "/v1/messages": speak,
}


parents: list[str | None] = []
"""The `traceparent` of each request."""


class Api(JsonApi):
    def do_POST(self) -> None:  # noqa: N802  # the name of the base class
        parents.append(self.headers["traceparent"])
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if failure := {"broken": 500, "refused": 401}.get(asked["model"]):
            said = {"type": "api_error", "message": f"Incorrect API key provided: {KEY}"}
            self.answer(json.dumps({"type": "error", "error": said}), failure)
            return
        answered = ANSWERS[self.path](asked)
        if isinstance(answered, dict):
            self.answer(json.dumps(answered))
        else:
            lines = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in answered]
            self.answer("".join(lines), kind="text/event-stream")

    def do_GET(self) -> None:  # noqa: N802  # the name of the base class
        parents.append(self.headers["traceparent"])
        self.answer(json.dumps(response()))


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
logging.basicConfig(level=logging.DEBUG, filename=os.devnull)

given: Json = {"api_key": KEY, "max_retries": 0}
address = f"http://127.0.0.1:{server.server_port}"
gpt: Any = openai.OpenAI(base_url=f"{address}/v1", **given)
claude: Any = anthropic.Anthropic(base_url=address, **given)

ASKED: Json = {"model": "gpt-5", "instructions": PROMPT, "input": f"{PROMPT} my key is {KEY}", "temperature": 0.5}
SAID: Json = {
    "model": "claude-5",
    "max_tokens": 100,
    "system": PROMPT,
    "messages": [{"role": "user", "content": f"{PROMPT} my key is {KEY}"}],
}
FUNCTION: Json = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
TOOL: Json = {"name": "weather", "description": PROMPT, "input_schema": {"type": "object"}}


def responses() -> None:
    assert gpt.responses.create(**ASKED).output_text == ANSWER


def responses_streamed() -> None:
    events = gpt.responses.create(**ASKED, stream=True)
    assert "".join(each.delta for each in events if each.type == "response.output_text.delta") == ANSWER


def responses_in_a_block() -> None:
    with gpt.responses.stream(**ASKED) as events:
        assert events.get_final_response().output_text == ANSWER


def responses_with_tool() -> None:
    (call,) = gpt.responses.create(**ASKED, tools=[FUNCTION]).output
    assert ARGUMENT in call.arguments


def responses_again() -> None:
    assert gpt.responses.retrieve("resp_1").output_text == ANSWER


async def responses_in_a_task() -> None:
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", **given) as client:
        events = await client.responses.create(**ASKED, stream=True)
        texts = [each.delta async for each in events if each.type == "response.output_text.delta"]
        assert "".join(texts) == ANSWER


def embeddings() -> None:
    asked = gpt.embeddings.create(model="ada-5", input=[PROMPT], encoding_format="float", dimensions=3)
    assert asked.data[0].embedding == [0.25, 0.5, 0.75]


async def embeddings_in_a_task() -> None:
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", **given) as client:
        asked = await client.embeddings.create(model="ada-5", input=PROMPT, encoding_format="float", dimensions=3)
        assert asked.data[0].embedding == [0.25, 0.5, 0.75]


def messages() -> None:
    assert claude.messages.create(**SAID).content[0].text == ANSWER


def messages_streamed() -> None:
    events = claude.messages.create(**SAID, stream=True)
    assert "".join(each.delta.text for each in events if each.type == "content_block_delta") == ANSWER


def messages_in_a_block() -> None:
    with claude.messages.stream(**SAID) as events:
        assert "".join(events.text_stream) == ANSWER


def messages_with_tool() -> None:
    (used,) = claude.messages.create(**SAID, tools=[TOOL]).content
    assert used.input == {"city": ARGUMENT}


async def messages_in_a_task() -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=address, **given) as client,
        client.messages.stream(**SAID) as events,
    ):
        assert "".join([each async for each in events.text_stream]) == ANSWER


def failing(call: Callable[..., object], asked: Json, model: str, **options: Any) -> None:
    try:
        call(**{**asked, "model": model, **options})
    except (openai.APIStatusError, anthropic.APIStatusError):
        logging.getLogger("shop").exception("The model does not answer")


CASES: dict[str, Callable[[], object]] = {
    "responses": responses,
    "responses streamed": responses_streamed,
    "responses in a block": responses_in_a_block,
    "responses with a tool": responses_with_tool,
    "responses again": responses_again,
    "responses async": lambda: asyncio.run(responses_in_a_task()),
    "embeddings": embeddings,
    "embeddings async": lambda: asyncio.run(embeddings_in_a_task()),
    "messages": messages,
    "messages streamed": messages_streamed,
    "messages in a block": messages_in_a_block,
    "messages with a tool": messages_with_tool,
    "messages async": lambda: asyncio.run(messages_in_a_task()),
    "responses refused": lambda: failing(gpt.responses.create, ASKED, "refused"),
    "responses refused in a stream": lambda: failing(gpt.responses.create, ASKED, "refused", stream=True),
    "embeddings broken": lambda: failing(gpt.embeddings.create, {"input": PROMPT}, "broken"),
    "messages refused": lambda: failing(claude.messages.create, SAID, "refused"),
    "messages broken in a stream": lambda: failing(claude.messages.create, SAID, "broken", stream=True),
}

for case, use in CASES.items():
    with brain_otel.start_transaction(case, op="task"):
        use()

assert brain_otel.flush(10)
print(json.dumps(parents))
