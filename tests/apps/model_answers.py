"""What the servers of language models answer: OpenAI's responses and chunks of chats, and Anthropic's messages.

The texts come from variables, so that no source line holds them.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

ANSWER, ARGUMENT = os.environ["ANSWER"], os.environ["ARGUMENT"]
Json = dict[str, Any]

OUTPUT = [
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": ANSWER, "annotations": []}],
    }
]
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": json.dumps({"city": ARGUMENT}),
    "status": "completed",
}
COUNTED: Json = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
COUNTED |= {"input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 2}}


def response(status: str = "completed", **fields: Any) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5-2026",
        "status": status,
        "output": OUTPUT,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "usage": COUNTED,
        **fields,
    }


def response_events() -> Iterator[Json]:
    return ({"sequence_number": number, **each} for number, each in enumerate(_response_events()))


def _response_events() -> Iterator[Json]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": response("in_progress", output=[], usage=None)}
    yield {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**OUTPUT[0], "content": [], "status": "in_progress"},
    }
    yield {
        "type": "response.content_part.added",
        **place,
        "part": {"type": "output_text", "text": "", "annotations": []},
    }
    yield {"type": "response.output_text.delta", **place, "delta": ANSWER, "logprobs": []}
    yield {"type": "response.completed", "response": response()}


def message(**fields: Any) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-5-2026",
        "content": [{"type": "text", "text": ANSWER}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7},
        **fields,
    }


def message_events() -> Iterator[Json]:
    first = message(content=[], stop_reason=None, usage={"input_tokens": 11, "output_tokens": 1})
    yield {"type": "message_start", "message": first}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}}
    yield {"type": "content_block_stop", "index": 0}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 7}}
    yield {"type": "message_stop"}


def chat() -> Json:
    said = {"role": "assistant", "content": ANSWER}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-2026",
        "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def chat_chunks() -> Iterator[Json]:
    chunk: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-2026"}
    first = {"role": "assistant", "content": ANSWER}
    yield {**chunk, "choices": [{"index": 0, "delta": first, "finish_reason": None}]}
    yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**chunk, "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}
