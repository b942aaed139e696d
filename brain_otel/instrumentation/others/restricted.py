"""Has the clients of others obey ``propagation.targets`` where their instrumentors do not say enough.

The propagator judges the server that a client's span names. Left to do here: requests, aiohttp, httpx2
and urllib copy headers to the request that follows a redirect, gRPC's spans name no server, and botocore's
instrumentor writes AWS's own header with a propagator of its own.
"""

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt
from opentelemetry.propagate import get_global_textmap

from brain_otel.instrumentation.trust import TrustingPropagator, remove_our_headers
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement

_GRPC_INSTRUMENTATION = "opentelemetry.instrumentation.grpc"


class RestrictedClients:
    """What is patched while targets are restricted; hooks cannot be removed, so they ask here."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._patched: set[str] = set()
        self._textmap: TrustingPropagator | None = None
        self._is_hooked = False

    def restrict(self) -> None:
        """Begin, if the global propagator restricts the targets: now for imported libraries, else when they are."""
        textmap = get_global_textmap()
        if not isinstance(textmap, TrustingPropagator) or textmap.targets is None:
            return
        self._textmap = textmap
        for name in _PATCHED:
            if name in sys.modules:
                self._on_import(sys.modules[name])
            if not self._is_hooked:
                wrapt.register_post_import_hook(self._on_import, name)
        self._is_hooked = True

    def undo(self) -> None:
        """Leave every library as it was found."""
        self._textmap = None
        self._patched.clear()
        self._patches.undo()

    def _on_import(self, module: ModuleType) -> None:
        textmap = self._textmap
        if textmap is not None and module.__name__ not in self._patched:
            self._patched.add(module.__name__)
            with guarded(f"restricting the trace headers of {module.__name__}"):
                _PATCHED[module.__name__](module, textmap, self._patches)


_CLIENTS = {
    "requests.adapters": ("HTTPAdapter", "send", "url"),
    "aiohttp.client_reqrep": ("ClientRequest", "send", "url"),
    "urllib.request": ("AbstractHTTPHandler", "do_open", "full_url"),
}
"""Module -> the class and the method that sends a request, and the request's attribute with its address."""


def _restrict_client(module: ModuleType, textmap: TrustingPropagator, patches: Patches) -> None:
    owner, method, url = _CLIENTS[module.__name__]
    patches.replace(getattr(module, owner), method, replacement(functools.partial(_send, textmap, url)))


def _send(textmap: TrustingPropagator, url: str, original: Original, /, *args: Any, **kwargs: Any) -> Any:
    """Take our headers out of a request to a host that gets none; it has them from before a redirect."""
    with guarded("taking trace headers out of a request that follows a redirect"):
        request = next(each for each in (*args, *kwargs.values()) if hasattr(each, url))
        if textmap.targets is not None and not textmap.targets.matches_url(str(getattr(request, url))):
            remove_our_headers(request.headers)
    return original(*args, **kwargs)


def _restrict_httpx2(module: ModuleType, textmap: TrustingPropagator, patches: Patches) -> None:
    """Its headers are bytes, so ours are told by what a request had before. Its instrumentor patches transports."""
    from brain_otel.instrumentation.httpx.targets import RestrictedTargets

    if textmap.targets is not None:
        send = "_send_single_request"
        RestrictedTargets(textmap.targets, patches, (module.Client, send), (module.AsyncClient, send))


def _restrict_aws(module: ModuleType, textmap: TrustingPropagator, patches: Patches) -> None:
    def inject(
        original: Original, /, propagator: Any, carrier: Any, context: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        if textmap.is_for_target(context):
            original(propagator, carrier, context, *args, **kwargs)

    patches.replace(module.AwsXRayPropagator, "inject", replacement(inject))


def _restrict_grpc(module: ModuleType, _textmap: TrustingPropagator, patches: Patches) -> None:
    from brain_otel.instrumentation.others.grpc_servers import name_servers

    name_servers(module, patches)


_PATCHED: dict[str, Callable[[ModuleType, TrustingPropagator, Patches], None]] = {
    **dict.fromkeys(_CLIENTS, _restrict_client),
    "httpx2": _restrict_httpx2,
    "opentelemetry.propagators.aws.aws_xray_propagator": _restrict_aws,
    _GRPC_INSTRUMENTATION: _restrict_grpc,
}
"""Module -> what restricts it once it has been imported."""
