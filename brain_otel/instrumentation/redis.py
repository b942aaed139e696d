"""Redis and Valkey: contrib's instrumentation, which patches the clients' classes, so import order does not matter.

It covers redis-py's sync and async clients, pipelines and cluster clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.instrumentation.redis import RedisInstrumentor

if TYPE_CHECKING:
    from brain_otel.settings import InstrumentationSettings


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Trace every command."""
    instrumentor = RedisInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(skip_dep_check=True)


def uninstrument() -> None:
    """Trace commands no more."""
    RedisInstrumentor().uninstrument()
