"""HTTPX: contrib's instrumentation, which patches the transports' classes, so import order does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

if TYPE_CHECKING:
    from brain_otel.settings import InstrumentationSettings

_ours: list[HTTPXClientInstrumentor] = []
"""The instrumentor, if it was not the application that used it first."""


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Trace every request of sync and async clients."""
    instrumentor = HTTPXClientInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(skip_dep_check=True)
        _ours.append(instrumentor)


def uninstrument() -> None:
    """Trace requests no more."""
    while _ours:
        _ours.pop().uninstrument()
