"""``distribution.brain_otel.instrumentation``: which libraries are instrumented, and how."""

from typing import Annotated, Literal, NamedTuple

from brain_otel.configuration.values import list_of, text

_PATHS = list_of(
    text(lambda path: path.startswith("/"), "a path that begins with /"), "a list of paths, each beginning with /"
)


_PREFIXES = list_of(text(bool, "the beginning of a key"), "a list of beginnings of keys such as session:")


class InstrumentationSettings(NamedTuple):
    """Which libraries are instrumented, and how."""

    fastapi: Literal["contrib", "native", "off"] = "contrib"
    """``contrib``: OpenTelemetry's instrumentation; ``native``: FastAPI's own spans (FastAPI 0.142 or later)."""
    health_checks: Annotated[tuple[str, ...], _PATHS] = (
        "/health",
        "/health/live",
        "/health/ready",
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
    )
    """Paths, as the client requests them, whose requests are not traced."""
    sqlalchemy: bool = True
    sqlalchemy_connect_spans: bool = False
    """Whether each connection taken from a pool gets a span."""
    sqlalchemy_returned_rows: bool = False
    """Whether a statement's span gets the number of rows it returned, if the driver knows it."""
    redis: bool = True
    cache_prefixes: Annotated[tuple[str, ...], _PREFIXES] = ()
    """Beginnings of the Redis keys that are a cache, as in sentry-sdk: Sentry's view of caches shows their calls."""
    httpx: bool = True
    logging: bool = True
    """Put trace ids on every log record, and send log records to the file's destinations for logs."""
    asyncio: bool = True
    """Report exceptions of child tasks that nobody retrieves, linked to the request that started the task."""
    threading: bool = True
    """Work in threads belongs to the request that asked for it."""
    celery: bool = True
    celery_beat_monitors: bool = False
    """Whether each entry of a beat schedule is a monitor in Sentry."""
    arq: bool = True
    taskiq: bool = True
