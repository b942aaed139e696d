"""Calls a server that speaks OpenAI's API: plain, streamed, asynchronous, with a tool, and with errors.

The texts come from variables, so that no source line holds them.
"""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

import openai

import brain_otel
from tests.apps.json_api import JsonApi

brain_otel.setup()

PROMPT, ANSWER, ARGUMENT, KEY = (os.environ[name] for name in ("PROMPT", "ANSWER", "ARGUMENT", "KEY"))
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


class Api(JsonApi):
    def do_POST(self) -> None:  # noqa: N802  # the name of the base class
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        failure = {"broken": 500, "refused": 401}.get(asked["model"])
        if failure:
            self.answer(json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}), failure)
        elif asked.get("stream"):
            first = {"role": "assistant", "content": ANSWER}
            chunks = [self.chat("chunk", delta=first), self.chat("chunk", delta={}, finish_reason="stop")]
            chunks.append({**self.chat("chunk"), "choices": [], "usage": USAGE})
            lines = [*map(json.dumps, chunks), "[DONE]"]
            self.answer("".join(f"data: {each}\n\n" for each in lines), kind="text/event-stream")
        elif asked.get("tools"):
            called = {"name": "weather", "arguments": json.dumps({"city": ARGUMENT})}
            calls = [{"id": "call_1", "type": "function", "function": called}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
            self.answer(json.dumps({**self.chat("", message=message, finish_reason="tool_calls"), "usage": USAGE}))
        else:
            message = {"role": "assistant", "content": ANSWER}
            self.answer(json.dumps({**self.chat("", message=message, finish_reason="stop"), "usage": USAGE}))

    @staticmethod
    def chat(kind: str, **choice: Any) -> dict[str, Any]:
        name = "chat.completion" + (f".{kind}" if kind else "")
        choices = [{"index": 0, "finish_reason": None, **choice}]
        return {"id": "chatcmpl-1", "object": name, "created": 1, "model": "gpt-5-2026", "choices": choices}


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
logging.basicConfig(level=logging.DEBUG, filename=os.devnull)

given: dict[str, Any] = {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "api_key": KEY, "max_retries": 0}
client = openai.OpenAI(**given)


def ask(model: str = "gpt-5", **options: Any) -> Any:
    messages: Any = [
        {"role": "system", "content": PROMPT},
        {"role": "user", "content": f"{PROMPT} my key is {KEY}"},
    ]
    return client.chat.completions.create(model=model, messages=messages, temperature=0.5, **options)


def plain() -> None:
    assert ask().choices[0].message.content == ANSWER


def streamed() -> None:
    texts = [each.choices[0].delta.content or "" for each in ask(stream=True) if each.choices]
    assert "".join(texts) == ANSWER


def with_tool() -> None:
    (call,) = ask(tools=TOOLS).choices[0].message.tool_calls
    assert ARGUMENT in call.function.arguments


def failing(model: str) -> None:
    try:
        ask(model)
    except openai.APIStatusError:
        logging.getLogger("shop").exception("The model does not answer")


async def in_a_task() -> None:
    async with openai.AsyncOpenAI(**given) as client:
        messages: Any = [{"role": "user", "content": PROMPT}]
        answer = await client.chat.completions.create(model="gpt-5", messages=messages)
        assert answer.choices[0].message.content == ANSWER


CASES: dict[str, Callable[[], object]] = {
    "plain": plain,
    "streamed": streamed,
    "tool": with_tool,
    "async": lambda: asyncio.run(in_a_task()),
    "refused": lambda: failing("refused"),
    "broken": lambda: failing("broken"),
}

for case, use in CASES.items():
    with brain_otel.start_transaction(case, op="task"):
        use()

with brain_otel.start_transaction("unhandled", op="task"):
    try:
        ask("broken")
    except openai.InternalServerError as error:
        brain_otel.capture_exception(error)

assert brain_otel.flush(10)
