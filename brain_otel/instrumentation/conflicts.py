"""Calls that the application has instrumented itself: one span for each, and one line for each library.

An application may use OpenTelemetry's instrumentors beside ``setup()``: before or after it, for everything or for one
client. The instrumentation that comes first around a call makes the span, and ours calls on.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from brain_otel.runtime.patch import Original

logger = logging.getLogger(__name__)

_INSTRUMENTORS = {
    "FastAPIInstrumentor": "FastAPI",
    "SQLAlchemyInstrumentor": "SQLAlchemy",
    "RedisInstrumentor": "Redis",
    "HTTPXClientInstrumentor": "HTTPX",
    "CeleryInstrumentor": "Celery",
}
"""Contrib's class -> the library, as log lines call it."""

_TEXTS = ("url.full", "http.url", "db.query.text", "db.statement")
"""Attributes that tell one call from another, in the stable and the old conventions."""


@functools.cache
def warn_once(library: str, instrumentor: str) -> None:
    """Log once that ``library`` is instrumented by ``instrumentor`` too."""
    logger.warning("%s is instrumented already; remove %s to let brain_otel do it", library, instrumentor)


def call_around(context: Context, scope: str) -> list[Any]:
    """What the current span says about its call, if ``scope`` has made it around a call; else an empty list.

    Args:
        context: The current context.
        scope: The name of an instrumentation scope, one for each library.
    """
    span: Any = otel_trace.get_current_span(context)
    if getattr(span, "kind", None) is not SpanKind.CLIENT or span.instrumentation_scope.name != scope:
        return []
    attributes = span.attributes or {}
    return [attributes[name] for name in _TEXTS if name in attributes]


def warning_instrument(
    is_wanted: Callable[[str], bool],
    is_repeated: Callable[[Any, dict[str, Any]], bool],
    original: Original,
    /,
    instrumentor: Any,
    **kwargs: Any,
) -> Any:
    """The replacement of ``BaseInstrumentor.instrument``: says it if the application instruments our library too.

    An instrumentor that this package has enabled is enabled anew with the application's options, if it gives any.
    """
    library = _INSTRUMENTORS.get(type(instrumentor).__name__, "")
    if is_wanted(library.lower()):
        warn_once(library, type(instrumentor).__name__)
    if is_repeated(instrumentor, kwargs):
        return None
    return original(instrumentor, **kwargs)
