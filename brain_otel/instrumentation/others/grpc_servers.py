"""Has the spans of gRPC's clients name the server, which their instrumentor leaves out.

The conventions require it, and ``propagation.targets`` are judged by it.
"""

import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement

_GRPC_SERVER = re.compile(r"(?:dns:(?://[^/]*/)?|ipv[46]:)?(?:\[([^\[\]]+)\]|([^:/,\[\]]+))(?::(\d+))?")
"""https://github.com/grpc/grpc/blob/master/doc/naming.md, those that name one host."""

INSTRUMENTATION = "opentelemetry.instrumentation.grpc"


def name_servers(module: ModuleType, patches: Patches) -> None:
    """Have the spans of each channel name its server, from the next channel on.

    Args:
        module: OpenTelemetry's instrumentation of gRPC.
        patches: The patches that are made.
    """
    from grpc.aio import _channel  # type: ignore[import-untyped]  # ships no types

    patches.replace(module, "intercept_channel", _intercept_channel)
    patches.replace(_channel.Channel, "__init__", _create_aio_channel)


@replacement
def _intercept_channel(original: Original, channel: Any, *interceptors: Any) -> Any:
    with guarded("naming the server of a channel of gRPC"):
        name_server(_target_of(channel), interceptors)
    return original(channel, *interceptors)


@replacement
def _create_aio_channel(
    original: Original, channel: Any, target: Any, options: Any, credentials: Any, compression: Any, given: Any
) -> None:
    with guarded("naming the server of an asynchronous channel of gRPC"):
        name_server(target, given or ())
    original(channel, target, options, credentials, compression, given)


def _target_of(channel: Any) -> Any:
    """The target of a synchronous channel, which other interceptors may have wrapped."""
    while hasattr(channel, "_channel"):
        channel = channel._channel
    return channel.target()


def name_server(target: Any, interceptors: Iterable[Any]) -> None:
    """Have the spans of OpenTelemetry's interceptors name the server of their channel."""
    found = _GRPC_SERVER.fullmatch(target.decode() if isinstance(target, bytes) else target)
    server = {"server.address": found[1] or found[2], "server.port": int(found[3] or 443)} if found else {}
    for each in interceptors:
        if type(each).__module__.startswith(INSTRUMENTATION) and hasattr(each, "_tracer"):
            if isinstance(each._tracer, _NamingTracer):
                each._tracer.share(server)
            else:
                each._tracer = _NamingTracer(each._tracer, server)


class _NamingTracer:
    """A tracer whose spans name a server."""

    def __init__(self, inner: Any, server: dict[str, Any]) -> None:
        self._inner = inner
        self.server = server

    def share(self, server: dict[str, Any]) -> None:
        """Serve one more channel; if its server is another one, the spans name none."""
        if server != self.server:
            self.server = {}

    def start_as_current_span(self, *args: Any, attributes: Any = None, **kwargs: Any) -> Any:
        """Start a span with the server's attributes."""
        return self._inner.start_as_current_span(*args, attributes={**(attributes or {}), **self.server}, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
