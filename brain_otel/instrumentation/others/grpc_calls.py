"""Shields the calls of gRPC's clients and servers from their instrumentors, which change or lose some of them.

A client's keeps one value of a repeated key of the metadata, gives a generator in the place of a stream's call,
raises for the name of a method without a service, and waits forever for a call that could not be sent. A server's
raises for a status that is a number, for a method without a service, and for a peer without a port.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patch, Patches, replacement
from brain_otel.runtime.shield import await_through, call_through

_PLACE = "observing a call of gRPC"


def shield_grpc(_module: ModuleType, patches: Patches) -> None:
    """Shield the calls of each client and server, from the next call on."""
    from opentelemetry.instrumentation.grpc import _aio_client, _aio_server, _client, _server

    client = _client.OpenTelemetryClientInterceptor
    patches.replace(client, "intercept_unary", _intercept)
    patches.replace(client, "intercept_stream", _intercept)
    patches.replace(client, "_intercept_server_stream", _intercept_server_stream)
    patches.replace(_aio_client._BaseAioClientInterceptor, "_wrap_unary_response", _wrap_unary_response)
    for name in ("abort", "disable_next_message_compression", "set_code", "set_details"):
        patches.replace(_server._OpenTelemetryServicerContext, name, partial(_of_servicer, "_servicer_context"))
        if name in vars(_aio_server._OpenTelemetryAioServicerContext):
            patches.replace(_aio_server._OpenTelemetryAioServicerContext, name, partial(_of_servicer, "__wrapped__"))
    patches.replace(client, "_start_span", _start_span)
    patches.replace(_server.OpenTelemetryServerInterceptor, "_start_span", _start_served)


@replacement
def _start_span(original: Original, interceptor: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    return original(interceptor, _with_service(method), *args, **kwargs)


@replacement
def _start_served(original: Original, interceptor: Any, details: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
    peer = context.peer()
    known = SimpleNamespace(
        invocation_metadata=context.invocation_metadata, peer=lambda: peer if peer.count(":") > 1 else "unix:"
    )
    named = SimpleNamespace(method=_with_service(details.method))
    return original(interceptor, named, known, *args, **kwargs)


def _with_service(method: str) -> str:
    """``method`` in two parts, as the instrumentor takes it; the second may be empty."""
    plain = method.lstrip("/")
    return method if "/" in plain else f"{plain or '?'}/"


@replacement
def _intercept(
    original: Original, interceptor: Any, request: Any, metadata: Any, info: Any, invoker: Callable[..., Any]
) -> Any:
    with guarded("reading the metadata of a call of gRPC"):
        if type(metadata).__name__ == "generator":
            metadata = tuple(metadata)

    def instrumented(run: Callable[..., Any]) -> Any:
        def invoke(request: Any, written: Any) -> Any:
            return run(request, with_repeated(metadata, written))

        return original(interceptor, request, metadata, info, invoke)

    return call_through(_PLACE, instrumented, invoker, request, metadata)


def with_repeated(given: Any, written: Any) -> Any:
    """The metadata that is sent: what the application has given, and what telemetry has added to it.

    Args:
        given: The application's; the instrumentor makes a dict of it, and so loses values of repeated keys.
        written: The instrumentor's pairs of key and value.
    """
    with guarded("adding trace headers to the metadata of a call of gRPC"):
        if type(given) not in (list, tuple):
            return given if isinstance(given, dict) else written  # gRPC refuses a dict
        ours: dict[str, Any] = {key: value for key, value in written if (key, value) not in given}
        theirs = (pair for pair in given if pair[0] not in ours or _is_other_baggage(pair, ours))
        return (*theirs, *ours.items())
    return given


def _is_other_baggage(pair: tuple[str, Any], ours: dict[str, Any]) -> bool:
    return pair[0] == "baggage" and pair[1] not in ours["baggage"]


@replacement
def _intercept_server_stream(
    _original: Original, interceptor: Any, request: Any, metadata: Any, info: Any, invoker: Callable[..., Any]
) -> Any:
    """A stream's call as that of a stream in both directions: the application gets gRPC's own object."""
    return interceptor._intercept(request, metadata, info, invoker)


@replacement
async def _wrap_unary_response(
    original: Original, interceptor: Any, continuation: Callable[..., Any], span: Any
) -> Any:
    """A call that cannot be sent has no status, which the instrumentor awaits."""

    async def ended() -> Any:
        call = await continuation()
        await _ended(call)
        return call

    try:
        return await original(interceptor, ended, span)
    except BaseException:
        with guarded("ending the span of a call of gRPC"):
            span.end()
        raise


async def _ended(call: Any) -> None:
    """Wait until ``call`` has a status.

    Raises:
        BaseException: What keeps it from being sent, or the cancellation of the task that waits.
    """
    from grpc import RpcError  # type: ignore[import-untyped]  # ships no types

    try:
        await call
    except RpcError:
        pass  # the status says so
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise


def _of_servicer(below: str, patch: Patch) -> Callable[..., Any]:
    """A method of a server's call: the instrumentor looks at its arguments, then calls that of the call ``below``."""
    name = patch.name
    through = await_through if inspect.iscoroutinefunction(patch.original) else call_through

    @functools.wraps(patch.original)
    def method(context: Any, *args: Any, **kwargs: Any) -> Any:
        if not patch.active:
            return patch.original(context, *args, **kwargs)

        def instrumented(run: Callable[..., Any]) -> Any:
            watched = _Watched(context, below, SimpleNamespace(**{name: run}))
            return patch.original(watched, *args, **kwargs)

        return through(_PLACE, instrumented, getattr(getattr(context, below), name), *args, **kwargs)

    return method


class _Watched:
    """The instrumentor's object for a server's call, with another call below it."""

    def __init__(self, context: Any, below: str, inner: Any) -> None:
        vars(self).update({"_context": context, below: inner})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._context, name, value)
