"""What happens to a span on the thread that starts or ends it. The first span loads this module."""

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, Span

from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.sampling.decision import is_for_sentry
from brain_otel.sentry.flat_spans import flat
from brain_otel.sentry.profiling import follow_thread, start_profile, stop_profile
from brain_otel.sentry.scopes import release_scope
from brain_otel.sentry.span_threads import remember_thread
from brain_otel.traces.local_trace import LocalTrace

__all__ = ["keeper", "observe_start", "release_scope", "stop_profile"]


def observe_start(span: Span, trace: LocalTrace) -> None:
    """Start a profile with the root; later spans show the profile the thread that works."""
    is_elsewhere = remember_thread(trace, span.context[1])
    if trace.kind == "implicit":
        return
    if trace.root is not span:
        if is_elsewhere:
            follow_thread(trace)
    elif is_for_sentry(span.get_span_context()):  # else tail sampling hands over a span that began long ago
        start_profile(trace)


def keeper() -> Callable[[ReadableSpan], Any]:
    """The function that makes of an ended span what waits for its transaction."""
    return flat if fast_paths_enabled() else _unchanged


def _unchanged(span: ReadableSpan) -> ReadableSpan:
    return span
