"""The server of a request, and whether it gets trace headers: ``distribution.brain_otel.propagation.targets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.propagate import get_global_textmap

from brain_otel.configuration.sections.propagation import DEFAULT_PORTS
from brain_otel.instrumentation.propagation import writes_headers
from brain_otel.runtime.context import holding
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patches, surrounding

if TYPE_CHECKING:
    import httpx

    from brain_otel.instrumentation.targets import TargetMatcher

_ORIGINALS = "brain_otel.original_headers"
"""Key in the extensions of a request: the trace headers that the application has given it.

HTTPX copies headers and extensions to the request that follows a redirect, so ours would reach its host."""


def server_of(url: httpx.URL) -> dict[str, Any]:
    """The attributes of the server that ``url`` names, with the default port of its scheme."""
    found: dict[str, Any] = {}
    if host := url.host:
        found["server.address"] = host
    if port := url.port or DEFAULT_PORTS.get(url.scheme):
        found["server.port"] = port
    return found


class RestrictedTargets:
    """Has requests of HTTPX to other hosts carry the trace headers that the application gave them, and no others.

    Args:
        targets: The hosts that get ours.
        patches: Gets the patches.
        methods: Classes, each with the name of its method that sends a request, outside of the instrumentations that
            write headers, whichever they are.
    """

    def __init__(self, targets: TargetMatcher, patches: Patches, *methods: tuple[Any, str]) -> None:
        self._targets = targets
        for owner, name in methods:
            patches.replace(owner, name, surrounding(self._choosing))

    def _choosing(self, _transport: Any, request: httpx.Request) -> holding[bool | None]:
        return holding(writes_headers, self._prepare(request))

    def _prepare(self, request: httpx.Request) -> bool:
        """Whether ``request`` gets trace headers; if not, take those out that it has from before a redirect."""
        with guarded("choosing the hosts that get trace headers"):
            originals = request.extensions.get(_ORIGINALS)
            if originals is None:
                names = get_global_textmap().fields
                originals = request.extensions[_ORIGINALS] = {name: request.headers.get(name) for name in names}
            url = request.url
            if self._targets.matches(url.scheme, (url.host, url.raw_host.decode("ascii")), url.port):
                return True
            for name, value in originals.items():
                if value is None:
                    request.headers.pop(name, None)
                else:
                    request.headers[name] = value
        return False
