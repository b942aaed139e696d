"""Requests of a FastAPI app that are not traced: health checks, with all that is done for them.

Such a request goes past contrib's middleware and gets no local trace of its own; whatever starts a span meanwhile is
told not to record it. What it costs is a look at its path. An exception that leaves the app is reported all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from brain_otel.instrumentation.fastapi.native import NATIVE_KEY
from brain_otel.runtime.guard import guarded
from brain_otel.sampling.context import suppressed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

_EXCLUDED_KEY = "brain_otel.untraced"
"""In the ASGI scope of a request that is not traced."""

_bare: WeakKeyDictionary[FastAPI, ASGIApp] = WeakKeyDictionary()
"""The middleware of an app as it was before contrib's was put around it."""


class Switch:
    """The middleware of an app, with contrib's or without."""

    def __init__(self, traced: ASGIApp, bare: ASGIApp) -> None:
        self.app = traced
        self._bare = bare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go the one way or the other."""
        await (self._bare if _EXCLUDED_KEY in scope else self.app)(scope, receive, send)


def remember_bare(app: FastAPI, stack: ASGIApp) -> None:
    """``stack`` is the middleware of ``app`` that contrib is about to wrap."""
    with guarded("remembering an app's middleware"):
        _bare[app] = stack


def build_unwrapped(app: FastAPI, build: Callable[[], ASGIApp]) -> Callable[[], ASGIApp]:
    """``build``, which contrib has wrapped, giving a :class:`Switch`."""

    def build_middleware_stack() -> ASGIApp:
        stack = build()
        bare = _bare.pop(app, None)
        return stack if bare is None or bare is stack else Switch(stack, bare)

    return build_middleware_stack


def is_excluded(scope: Scope) -> bool:
    """Whether the request has been found to be one of these already: a mounted app serves it now."""
    return _EXCLUDED_KEY in scope


async def serve_excluded(
    original: Callable[..., Awaitable[None]], app: FastAPI, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve one request without a trace."""
    scope[_EXCLUDED_KEY] = True
    scope.setdefault(NATIVE_KEY, None)
    with suppressed():
        await original(app, scope, receive, send)
