"""The application's exceptions pass through OpenTelemetry as they are, also those that cannot be written out.

OpenTelemetry and contrib record an exception with ``str(exception)``, unguarded, while it is on its way to the
application. Where its ``__str__`` fails, that failure takes the place of the exception, and an ``except`` clause that
waits for the exception does not see it.
"""

from __future__ import annotations

import functools
import traceback
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.trace import Status, StatusCode
from opentelemetry.util._decorator import _agnosticcontextmanager

from brain_otel.events.attributes import attribute_value, error_attributes
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_patches: list[Patch] = []


def patch_exception_recording() -> None:
    """Replace what records exceptions: ``trace.use_span`` and two methods of the SDK's span."""
    from opentelemetry.sdk.trace import Span

    _patches.append(replace(otel_trace, "use_span", _use_span))
    _patches.append(replace(Span, "record_exception", _record_exception))
    _patches.append(replace(Span, "__exit__", _exit))


def undo() -> None:
    """Put back what was replaced."""
    while _patches:
        _patches.pop().undo()


def original_exception(raised: BaseException) -> BaseException:
    """The exception that OpenTelemetry was writing out when its ``__str__`` raised ``raised``, else ``raised``."""
    frames = [frame for frame, _ in traceback.walk_tb(raised.__traceback__)]
    for writing, written in pairwise(frames):
        is_upstream = str(writing.f_globals.get("__name__")).startswith("opentelemetry.")
        if is_upstream and written.f_code.co_name == "__str__":
            found = written.f_locals.get("self")
            if found is raised.__context__ and found is not None:
                return found
    return raised


def status_of(error: BaseException) -> Status:
    """The status of a span that ``error`` has ended, as OpenTelemetry words it."""
    return Status(StatusCode.ERROR, f"{type(error).__name__}: {attribute_value(error)}")


def _use_span(patch: Patch) -> Callable[..., Any]:  # noqa: ARG001 - the whole of it is replaced
    @_agnosticcontextmanager
    @functools.wraps(otel_trace.use_span)
    def use_span(
        span: otel_trace.Span,
        end_on_exit: bool = False,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Iterator[otel_trace.Span]:
        try:
            token = otel_context.attach(otel_trace.set_span_in_context(span))
            try:
                yield span
            finally:
                otel_context.detach(token)
        except Exception as error:
            with guarded("recording an exception on a span"):
                if isinstance(span, otel_trace.Span) and span.is_recording():
                    if record_exception:
                        span.record_exception(error)
                    if set_status_on_exception:
                        span.set_status(status_of(error))
            raise
        finally:
            if end_on_exit:
                span.end()

    return use_span


def _record_exception(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def record_exception(self: Any, exception: BaseException, *args: Any, **kwargs: Any) -> None:
        try:
            patch.original(self, exception, *args, **kwargs)
        except Exception:
            with guarded("recording an exception on a span"):
                self.add_event("exception", error_attributes(exception))

    return record_exception


def _exit(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def leave(self: Any, kind: Any, error: BaseException | None, where: Any) -> Any:
        try:
            return patch.original(self, kind, error, where)
        except Exception as raised:
            if error is None or original_exception(raised) is raised:
                raise
            with guarded("recording an exception on a span"):
                self.set_status(status_of(error))
            self.end()

    return leave
