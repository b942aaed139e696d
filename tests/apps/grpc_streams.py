"""Calls of gRPC's streams that fail, end late or are left, for `hostile_grpc.py`, which serves them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import grpc  # type: ignore[import-untyped]  # ships no types


async def ended(call: Callable[[], Any]) -> str:
    try:
        result = call()
        return str(await asyncio.wait_for(result, 3) if asyncio.iscoroutine(result) else result)
    except grpc.RpcError as error:
        code = error.code()  # of a deadline, the side that notices it first chooses the words
        return str(code) if code is grpc.StatusCode.DEADLINE_EXCEEDED else f"{code} {error.details()}"[:60]
    except (Exception, asyncio.CancelledError) as error:
        return type(error).__name__


def requests(name: str) -> Iterator[bytes]:
    """What a client sends in a stream."""
    yield b"metadata:"
    if name == "raising":
        raise LookupError("of the application")
    if name:
        yield name.encode()


STREAMS = ("", "raising", "raise:", "refuse:", "sleep:", "abort:bytes")


def left(call: Any, after: int) -> Any:
    """What a stream tells that is cancelled after some answers."""
    found = [next(call) for _ in range(after)]
    call.cancel()
    try:
        return found, list(call)
    except grpc.RpcError as error:
        return found, error.code(), call.code(), call.done(), type(call).__name__


async def left_async(call: Any, after: int) -> Any:
    found = [await call.read() for _ in range(after)]
    call.cancel()
    try:
        return found, await call.read()
    except asyncio.CancelledError:
        return found, await call.code(), call.cancelled(), call.done()


async def streams(channel: Any) -> dict[str, str]:
    """Streams that fail, end late, are left, or have methods without a service."""
    found: dict[str, str] = {}
    many, last, each = channel.unary_stream("/a.B/S"), channel.stream_unary("/a.B/L"), channel.stream_stream("/a.B/E")
    for body in (b"raise:", b"refuse:", b"sleep:"):
        found[f"a stream {body!r}"] = await ended(lambda: list(many(body, timeout=3)))  # noqa: B023 - called at once
        found[f"a stream {body!r} without a deadline"] = await ended(lambda: list(many(body)))  # noqa: B023
    found["a late stream"] = await ended(lambda: list(many(b"hang:", timeout=0.05)))
    for after in (0, 1):
        found[f"a stream left after {after}"] = await ended(lambda: left(many(b"sleep:", timeout=3), after))  # noqa: B023
        both = partial(each, timeout=3)
        found[f"both left after {after}"] = await ended(lambda: left(both(requests("sleep:")), after))  # noqa: B023
    for name in STREAMS:
        found[f"last of {name}"] = await ended(lambda: last(requests(name), timeout=3))  # noqa: B023
        found[f"each of {name}"] = await ended(lambda: list(each(requests(name), timeout=3)))  # noqa: B023
    found["without a service"] = await ended(lambda: channel.unary_unary("served")(b"metadata:", timeout=3))
    found["a stream without a service"] = await ended(
        lambda: list(channel.unary_stream("/served")(b"raise:", timeout=3))
    )
    return found


async def streams_async(channel: Any) -> dict[str, str]:
    async def all_of(call: Any) -> Any:
        return [each async for each in call]

    async def given_by(name: str) -> AsyncIterator[bytes]:
        for each in requests(name):
            yield each

    async def awaited(call: Any) -> Any:
        return await call

    found: dict[str, str] = {}
    many, last, each = channel.unary_stream("/a.B/S"), channel.stream_unary("/a.B/L"), channel.stream_stream("/a.B/E")
    for body in (b"raise:", b"refuse:", b"sleep:"):
        found[f"a stream {body!r}"] = await ended(lambda: all_of(many(body, timeout=3)))  # noqa: B023
        found[f"a stream {body!r} without a deadline"] = await ended(lambda: all_of(many(body)))  # noqa: B023
    found["a late stream"] = await ended(lambda: all_of(many(b"hang:", timeout=0.05)))
    for after in (0, 1):
        found[f"a stream left after {after}"] = await ended(lambda: left_async(many(b"sleep:", timeout=3), after))  # noqa: B023
    for name in STREAMS:
        found[f"last of {name}"] = await ended(lambda: awaited(last(given_by(name), timeout=3)))  # noqa: B023
        found[f"each of {name}"] = await ended(lambda: all_of(each(given_by(name), timeout=3)))  # noqa: B023
    found["without a service"] = await ended(lambda: awaited(channel.unary_unary("served")(b"metadata:", timeout=3)))
    return found
