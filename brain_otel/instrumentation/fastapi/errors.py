"""Decides which exceptions of a FastAPI app are events, and reports them.

An exception is an event if it is unhandled, or handled with a 5xx response. ``HTTPException`` below 500, validation
errors, client disconnects and cancellation are no events. The configuration can set other statuses, and classes that
are always or never an event: :mod:`brain_otel.events.error_rules`. Sentry's integrations of FastAPI and Starlette
cannot tell which response a handler made, so they are off.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from brain_otel.events.deduplication import find_record, record_ignored
from brain_otel.events.error_rules import error_rules
from brain_otel.events.exception_tree import leaves
from brain_otel.events.report import record_event, report_exception
from brain_otel.runtime.guard import guarded
from brain_otel.sampling.context import is_suppressed
from brain_otel.traces import local_trace

_MECHANISM = "fastapi"

_CLIENT_LEFT = (ClientDisconnect, WebSocketDisconnect)
_EXPECTED = (
    *_CLIENT_LEFT,
    RequestValidationError,
    WebSocketException,
    WebSocketRequestValidationError,
)


def report_unhandled(error: BaseException) -> None:
    """Report an exception that has left the app; if it is no event, remember that for the server's log line."""
    with guarded("reporting an unhandled exception"):
        if (isinstance(error, Exception) and not is_expected(error)) or error_rules().should_report(error):
            trace = local_trace.current()
            if trace is not None:
                trace.is_failed = True
            report_exception(error, handled=False, mechanism=_MECHANISM)
        else:
            record_ignored(error)


def is_expected(error: BaseException) -> bool:
    """Whether ``error`` is no failure of the service; true for a group if it is for each of its exceptions."""
    return all(
        not error_rules().is_failed(each.status_code)
        if isinstance(each, HTTPException)
        else isinstance(each, _EXPECTED)
        for each in leaves(error)
    )


def has_client_left(error: BaseException) -> bool:
    """Whether ``error`` only says that the client has gone, and no rule of the configuration makes it an event."""
    return not error_rules().should_report(error) and all(isinstance(each, _CLIENT_LEFT) for each in leaves(error))


def is_normal_close(error: BaseException) -> bool:
    """Whether the client has closed a WebSocket as it should: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1."""
    return isinstance(error, WebSocketDisconnect) and error.code in (1000, 1001, 1005)


def observed_handlers(handlers: Mapping[Any, Any]) -> dict[Any, Any]:
    """Wrap the app's exception handlers: report the exception if the response is a failure.

    Starlette raises again what the handlers for ``Exception`` and 500 handle, so they stay as they are.
    """
    return {key: handler if key in (500, Exception) else _observed(handler) for key, handler in handlers.items()}


def _observed(handler: Callable[..., Any]) -> Callable[..., Any]:
    if _is_async(handler):

        @functools.wraps(handler)
        async def observed_coroutine(connection: Any, error: Exception) -> Any:
            response = await handler(connection, error)
            report_answered(error, getattr(response, "status_code", None))
            return response

        return observed_coroutine

    @functools.wraps(handler)
    def observed(connection: Any, error: Exception) -> Any:
        response = handler(connection, error)
        report_answered(error, getattr(response, "status_code", None))
        return response

    return observed


def report_answered(error: Exception, status: Any) -> None:
    """Report an exception that a handler or a middleware has answered with ``status``, if that is a failure.

    The request's span gets an exception event; its status follows from the response.
    """
    with guarded("reporting a handled exception"):
        if is_suppressed():
            return  # a health check that answers "not ready" has not failed
        failed = isinstance(status, int) and error_rules().is_failed(status)
        if (failed or error_rules().should_report(error)) and not _cause_was_reported(error):
            trace = local_trace.current()
            if trace is not None and trace.root is not None and trace.root.is_recording():
                record_event(trace.root, error)
            report_exception(error, handled=True, mechanism=_MECHANISM)


def _cause_was_reported(error: BaseException) -> bool:
    """Whether ``error`` is an ``HTTPException`` that only tells the client of an exception reported already."""
    if not isinstance(error, HTTPException):
        return False
    cause = error.__cause__ or error.__context__
    return cause is not None and find_record(cause) is not None


def _is_async(handler: Any) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or (
        not inspect.isroutine(handler) and inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
    )
