"""Health checks: requests of a FastAPI app that are not traced, nor anything that they call.

Such a request bypasses contrib's middleware and gets no local trace; spans that start meanwhile are not recorded. It
costs one look at its path. An exception that leaves the app is reported all the same.
"""

from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from brain_otel.events.listeners import kept_apart, local_trace_entered
from brain_otel.instrumentation.fastapi.errors import report_unhandled
from brain_otel.instrumentation.fastapi.native import NATIVE_KEY
from brain_otel.instrumentation.fastapi.request import RequestInProgress
from brain_otel.runtime.guard import caught, guarded
from brain_otel.sampling.context import suppressed

_EXCLUDED_KEY = "brain_otel.excluded"
"""Marks the ASGI scope of a request that is not traced."""


class ExcludingMiddleware:
    """The middleware stack of an app: contrib's for traced requests, the original for excluded ones."""

    def __init__(self, traced: ASGIApp, unwrapped: ASGIApp) -> None:
        self.app = traced
        self._unwrapped = unwrapped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await (self._unwrapped if _EXCLUDED_KEY in scope else self.app)(scope, receive, send)


class UnwrappedStacks:
    """The middleware stacks that contrib is about to wrap, each until its app's stack is complete."""

    def __init__(self) -> None:
        self._stacks: WeakKeyDictionary[FastAPI, ASGIApp] = WeakKeyDictionary()

    def add(self, app: FastAPI, stack: ASGIApp) -> None:
        """Keep ``stack``, the middleware of ``app`` without contrib's."""
        with guarded("keeping an app's middleware"):
            self._stacks[app] = stack

    def excluding(self, app: FastAPI, build: Callable[[], ASGIApp]) -> Callable[[], ASGIApp]:
        """Wrap ``build``, contrib's function: the stack that it returns serves excluded requests without contrib."""

        def build_middleware_stack() -> ASGIApp:
            try:
                stack = build()
            except Exception as error:
                unwrapped = self._stacks.pop(app, None)
                if unwrapped is None:  # the application's own middleware failed
                    raise
                caught("tracing an app", error)
                return unwrapped
            unwrapped = self._stacks.pop(app, None)
            if unwrapped is None or unwrapped is stack:
                return stack
            return ExcludingMiddleware(_without_last_resort(stack), unwrapped)

        return build_middleware_stack


def _without_last_resort(stack: ASGIApp) -> ASGIApp:
    """Contrib's ``stack`` without the middleware that answers when contrib's own fails, which our fast path does not.

    It costs a wrapped ``send``, and a coroutine that each step of the request passes through. The middleware inside
    answers what the application raises.
    """
    inner = getattr(stack, "app", None)
    is_needless = type(stack) is ServerErrorMiddleware and stack.handler is None and getattr(inner, "is_fast", False)
    return inner if is_needless and inner is not None else stack


def is_excluded(scope: Scope) -> bool:
    """Whether the request has been excluded already, by the app in which this one is mounted."""
    return _EXCLUDED_KEY in scope


async def serve_excluded(
    original: Callable[..., Awaitable[None]], app: FastAPI, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve one request without a trace, and report what it raises."""
    scope[_EXCLUDED_KEY] = True
    scope.setdefault(NATIVE_KEY, None)
    try:
        with kept_apart(cheaply=True), suppressed():
            await original(app, scope, receive, send)
    except BaseException as error:
        with guarded("preparing a request"), local_trace_entered(RequestInProgress(app, scope).trace):
            report_unhandled(error)
        raise
