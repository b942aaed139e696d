"""OpenTelemetry instrumentation for FastAPI services, with errors and traces linked in Sentry."""

from brain_otel.runtime.garbage import paused_gc

with paused_gc():
    from brain_otel.capture import (
        add_breadcrumb,
        capture_exception,
        capture_feedback,
        capture_message,
        measurement,
        set_context,
        set_tag,
        set_user_context,
    )
    from brain_otel.configuration.error import ConfigurationError
    from brain_otel.jobs.monitors import monitor
    from brain_otel.runtime.version import __version__
    from brain_otel.telemetry import flush, setup, shutdown
    from brain_otel.traces.headers import continue_trace, trace_headers
    from brain_otel.tracing import start_span, start_transaction

__all__ = [
    "ConfigurationError",
    "__version__",
    "add_breadcrumb",
    "capture_exception",
    "capture_feedback",
    "capture_message",
    "continue_trace",
    "flush",
    "measurement",
    "monitor",
    "set_context",
    "set_tag",
    "set_user_context",
    "setup",
    "shutdown",
    "start_span",
    "start_transaction",
    "trace_headers",
]
