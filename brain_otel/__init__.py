"""OpenTelemetry instrumentation for FastAPI services, with errors and traces linked in Sentry."""

from brain_otel.capture import (
    add_breadcrumb,
    capture_exception,
    capture_message,
    set_context,
    set_tag,
    set_user_context,
)
from brain_otel.configuration.error import ConfigurationError
from brain_otel.jobs.monitors import monitor
from brain_otel.telemetry import flush, setup, shutdown
from brain_otel.tracing import start_span, start_transaction

__all__ = [
    "ConfigurationError",
    "add_breadcrumb",
    "capture_exception",
    "capture_message",
    "flush",
    "monitor",
    "set_context",
    "set_tag",
    "set_user_context",
    "setup",
    "shutdown",
    "start_span",
    "start_transaction",
]
