"""The trace context of an error or a message.

See https://develop.sentry.dev/sdk/event-payloads/contexts/#trace-context.
"""

from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import SpanContext
from sentry_sdk.consts import SPANSTATUS

from brain_otel.sentry import span_fields
from brain_otel.sentry.dynamic_sampling_context import create_sampling_context, sampling_context_of
from brain_otel.sentry.span_threads import thread_of
from brain_otel.traces import local_trace, operations
from brain_otel.traces.local_trace import LocalTrace


def trace_context(event: Any, trace: LocalTrace) -> dict[str, Any] | None:
    """The context of ``event``, which belongs to ``trace``: ids, sampling context, and what its span is."""
    span = local_trace.current_span_context(trace)
    if span is None:
        return None
    return {**_ids(span), "dynamic_sampling_context": sampling_context_of(trace), **_facts(event, span, trace)}


def current_trace_context() -> dict[str, Any] | None:
    """The context of an event outside of any local trace; None without a current span."""
    span = otel_trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return {**_ids(span), "dynamic_sampling_context": create_sampling_context(span, None)}


def _ids(span: SpanContext) -> dict[str, str]:
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _facts(event: Any, here: SpanContext, trace: LocalTrace) -> dict[str, Any]:
    """What sentry-sdk says of the span in which an error occurs; a span that still runs has no status yet."""
    span = trace.root if trace.root is not None and trace.root.get_span_context() == here else None
    span = span or otel_trace.get_current_span()
    if not isinstance(span, SdkSpan):
        return {"op": "http.server", "origin": "auto.http.otel.fastapi"} if trace.kind == "request" else {}
    facts: dict[str, Any] = {"op": operations.operation(span), "origin": span_fields.origin(span)}
    if span.parent is not None:
        facts["parent_span_id"] = f"{span.parent.span_id:016x}"
    if (thread := thread_of(trace, here.span_id)) is not None:
        facts["data"] = thread.to_data()
    if _is_unhandled(event):
        facts["status"] = SPANSTATUS.INTERNAL_ERROR
    elif span.end_time is not None:
        facts["status"] = span_fields.root_status(span, trace)
    return facts


def _is_unhandled(event: Any) -> bool:
    values = event.get("exception", {}).get("values") or ()
    return any((value.get("mechanism") or {}).get("handled") is False for value in values)
