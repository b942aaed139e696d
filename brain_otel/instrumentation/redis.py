"""Redis and Valkey: contrib's instrumentation, which patches the clients' classes, so import order does not matter.

It covers redis-py's sync and async clients, pipelines and cluster clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.instrumentation.redis import RedisInstrumentor

if TYPE_CHECKING:
    from brain_otel.settings import InstrumentationSettings

_ours: list[RedisInstrumentor] = []
"""The instrumentor, if it was not the application that used it first."""


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Trace every command."""
    instrumentor = RedisInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(skip_dep_check=True)
        _ours.append(instrumentor)


def uninstrument() -> None:
    """Trace commands no more."""
    while _ours:
        _ours.pop().uninstrument()
