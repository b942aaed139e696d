"""Makes odd calls of gRPC, before and after `brain_otel.setup()`, as client and as server.

Prints the names of all calls, and those that ended otherwise with telemetry or after it, as JSON.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc  # type: ignore[import-untyped]  # ships no types
import grpc.aio  # type: ignore[import-untyped]
import grpc.experimental  # type: ignore[import-untyped]

import brain_otel
from tests.apps.grpc_streams import ended, streams, streams_async


class Textless:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


METADATA: dict[str, Any] = {
    "none": None,
    "bytes": (("k", b"\xff"),),
    "binary": (("k-bin", b"\xff\xfe"),),
    "an empty value": (("k", None),),
    "an object": (("k", Textless()),),
    "no pairs": (("k",),),
    "an ambiguous one": Textless(),
    "a dict": {"k": "v"},
    "a number": 5,
    "a surrogate": (("k", "\ud800"),),
    "two lines": (("k", "a\nb"),),
    "repeated": (("k", "1"), ("k", "2"), ("k-bin", b"1"), ("k-bin", b"2")),
    "baggage": (("baggage", "a=1"), ("baggage", "b=2")),
    "a list": [("k", "v")],
    "a generator": lambda: (pair for pair in (("k", "v"),)),
}
DETAILS: dict[str, Any] = {"bytes": b"\xff", "none": None, "object": Textless(), "number": 5}
CODES: dict[str, Any] = {"number": 5, "none": None, "text": "x", "object": Textless()}
METHODS = ("nomethod", "/x", "", "/a.B/Missing", "/a/b/c")
PARTS = ("cancel", "done", "time_remaining")
ASKED = [
    "metadata:",
    *(f"{kind}:{name}" for kind in ("details", "abort") for name in DETAILS),
    *(f"{kind}:{name}" for kind in ("code", "abort with code") for name in CODES),
    "compression:",
]


def seen(context: Any) -> bytes:
    """The metadata of the application."""
    own = [(key, value) for key, value in context.invocation_metadata() if key in ("k", "k-bin", "baggage")]
    baggage = {each for key, value in own if key == "baggage" for each in value.split(",") if "sentry-" not in each}
    return repr([[pair for pair in own if pair[0] != "baggage"], sorted(baggage)]).encode()


def answer(body: bytes, context: Any) -> Any:
    kind, _, name = body.decode().partition(":")
    if kind == "details":
        context.set_code(grpc.StatusCode.INTERNAL)
        context.set_details(DETAILS[name])
    if kind == "code":
        context.set_code(CODES[name])
    if kind == "abort":
        return context.abort(grpc.StatusCode.INTERNAL, DETAILS[name])
    if kind == "abort with code":
        return context.abort(CODES[name], "x")
    if kind == "compression":
        context.disable_next_message_compression()
    return seen(context)


def answer_all(body: bytes, context: Any) -> Iterator[Any]:
    yield answer(body, context)
    if body == b"raise:":
        raise ValueError("planted")
    if body == b"sleep:":
        time.sleep(0.1)
    while body == b"hang:" and context.is_active():
        time.sleep(0.01)
    if body == b"refuse:":
        context.abort(grpc.StatusCode.DATA_LOSS, "lost")
    yield b"end"


def answer_last(bodies: Iterator[bytes], context: Any) -> Any:
    return [answer(body, context) for body in bodies][-1]


def answer_each(bodies: Iterator[bytes], context: Any) -> Iterator[Any]:
    for body in bodies:
        yield from answer_all(body, context)


async def answer_async(body: bytes, context: Any) -> Any:
    found = answer(body, context)
    return found if isinstance(found, bytes) else await found


async def answer_all_async(body: bytes, context: Any) -> AsyncIterator[Any]:
    yield await answer_async(body, context)
    if body == b"raise:":
        raise ValueError("planted")
    if body == b"sleep:":
        await asyncio.sleep(0.1)
    if body == b"hang:":
        await asyncio.sleep(60)
    if body == b"refuse:":
        await context.abort(grpc.StatusCode.DATA_LOSS, "lost")
    yield b"end"


async def answer_last_async(bodies: AsyncIterator[bytes], context: Any) -> Any:
    return [await answer_async(body, context) async for body in bodies][-1]


async def answer_each_async(bodies: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
    async for body in bodies:
        async for each in answer_all_async(body, context):
            yield each


class Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # ships no types
    """Serves a method whose name has no service."""

    def __init__(self, one: Any, many: Any) -> None:
        self.found = {"served": grpc.unary_unary_rpc_method_handler(one)}
        self.found["/served"] = grpc.unary_stream_rpc_method_handler(many)

    def service(self, handler_call_details: Any) -> Any:
        return self.found.get(handler_call_details.method)


def handlers(one: Any, many: Any, last: Any, each: Any) -> Any:
    found = {
        "U": grpc.unary_unary_rpc_method_handler(one),
        "S": grpc.unary_stream_rpc_method_handler(many),
        "L": grpc.stream_unary_rpc_method_handler(last),
        "E": grpc.stream_stream_rpc_method_handler(each),
    }
    return (grpc.method_handlers_generic_handler("a.B", found), Anything(one, many))


def given(metadata: Any) -> Any:
    return metadata() if callable(metadata) else metadata


async def everything_sync() -> dict[str, str]:
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(handlers(answer, answer_all, answer_last, answer_each))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    found: dict[str, str] = {}
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        one, many = channel.unary_unary("/a.B/U"), channel.unary_stream("/a.B/S")
        calls: dict[str, Callable[[bytes, Any], Any]] = {
            "one": lambda body, metadata: one(body, metadata=given(metadata), timeout=3),
            "with call": lambda body, metadata: one.with_call(body, metadata=given(metadata), timeout=3)[0],
            "future": lambda body, metadata: one.future(body, metadata=given(metadata), timeout=3).result(),
            "many": lambda body, metadata: list(many(body, metadata=given(metadata), timeout=3)),
        }

        def missing(kind: Callable[[str], Any], name: str) -> Any:
            result = kind(name)(b"", timeout=3)
            return list(result) if kind == channel.unary_stream else result

        def part(name: str) -> type:
            return type(getattr(many(b"metadata:", timeout=3), name)())

        for kind, call in calls.items():
            for name, metadata in METADATA.items():
                found[f"{kind}, {name}"] = await ended(partial(call, b"metadata:", metadata))
        for kind in ("one", "many"):
            for body in ASKED:
                found[f"{kind} {body}"] = await ended(partial(calls[kind], body.encode(), None))
        for name in METHODS:
            found[f"method {name!r}"] = await ended(partial(missing, channel.unary_unary, name))
            found[f"stream {name!r}"] = await ended(partial(missing, channel.unary_stream, name))
        for name in PARTS:
            found[f"part {name}"] = await ended(partial(part, name))
        found |= await streams(channel)
    option = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[option]) as channel:
        found |= {f"single {name}": each for name, each in (await streams(channel)).items()}
    server.stop(0).wait()
    return found


async def everything_async() -> dict[str, str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers(answer_async, answer_all_async, answer_last_async, answer_each_async))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    found: dict[str, str] = {}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def one(body: bytes, metadata: Any) -> Any:
            return await channel.unary_unary("/a.B/U")(body, metadata=given(metadata), timeout=3)

        async def many(body: bytes, metadata: Any) -> Any:
            return [each async for each in channel.unary_stream("/a.B/S")(body, metadata=given(metadata), timeout=3)]

        async def cancelled() -> Any:
            call = channel.unary_unary("/a.B/U")(b"metadata:", timeout=3)
            call.cancel()
            return await call.code()

        for name, metadata in METADATA.items():
            found[f"aio one, {name}"] = await ended(partial(one, b"metadata:", metadata))
            found[f"aio many, {name}"] = await ended(partial(many, b"metadata:", metadata))
        for body in ASKED:
            found[f"aio one {body}"] = await ended(partial(one, body.encode(), None))
            found[f"aio many {body}"] = await ended(partial(many, body.encode(), None))
        found["aio cancelled"] = await ended(cancelled)
        found |= {f"aio {name}": each for name, each in (await streams_async(channel)).items()}
    await server.stop(0)
    return found


def everything() -> dict[str, str]:
    found = asyncio.run(everything_sync())
    return found | asyncio.run(everything_async())


def main() -> None:
    logging.disable(logging.CRITICAL)
    bare = everything()
    brain_otel.setup()
    traced = everything()
    brain_otel.shutdown()
    removed = everything()
    different = {name: (bare[name], traced[name]) for name in bare if bare[name] != traced[name]}
    different |= {f"{name} afterwards": (bare[name], removed[name]) for name in bare if bare[name] != removed[name]}
    print(json.dumps({"asked": list(bare), "different": different}))


if __name__ == "__main__":
    main()
