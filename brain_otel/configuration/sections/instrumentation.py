"""``distribution.brain_otel.instrumentation``: which libraries are instrumented, and how."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from brain_otel.configuration.instrumentors import installed_instrumentors, is_known_instrumentor, plain_name
from brain_otel.configuration.values import (
    BOOLEANS,
    BadValueError,
    Derived,
    boolean,
    list_of,
    number,
    read_fields,
    text,
)
from brain_otel.runtime.named_tuple import NamedTuple

SLOW_CALL = 0.1
"""Default length in seconds from which a call is slow."""

_PATHS = list_of(
    text(lambda path: path.startswith("/"), "a path that begins with /"), "a list of paths, each beginning with /"
)


_PREFIXES = list_of(text(bool, "the beginning of a key"), "a list of beginnings of keys such as session:")


def _read_others(value: Any) -> bool | tuple[str, ...]:
    """Read whether OpenTelemetry's instrumentors are used, or which."""
    if isinstance(value, list):
        for index, name in enumerate(value):
            if not isinstance(name, str) or not is_known_instrumentor(name):
                raise BadValueError(name, _names(), index)
        return tuple(map(plain_name, value))
    if str(value).strip().lower() not in BOOLEANS:
        raise BadValueError(value, "true, false or a list of instrumentors")
    return boolean(value)


def _names() -> str:
    installed = ", ".join(sorted(installed_instrumentors())) or "none is installed"
    return f"the name of an instrumentor of OpenTelemetry's; installed: {installed}"


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
    slow_call: Annotated[float, number(0, 3_600, unit="seconds")] = SLOW_CALL
    """The span of a call that takes longer has the place in the application's code."""
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
    others: Annotated[bool | tuple[str, ...], _read_others] = True
    """Whether OpenTelemetry's installed instrumentors of other libraries are used, or the names of those that are."""
    options: Derived[Mapping[str, Mapping[str, Any] | bool]] = {}  # noqa: RUF012 - nobody changes it
    """Each instrumentor that the file names: its options, or whether it is used."""
    disabled: Derived[tuple[str, ...]] = ()
    """Return the names in ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``."""
    doubled: Derived[tuple[str, ...]] = ()
    """The conventions of which the spans of others have the old names too."""

    def is_disabled(self, name: str) -> bool:
        """Whether ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`` names the instrumentor."""
        return name in self.disabled or "*" in self.disabled


def read_instrumentation(given: Any) -> InstrumentationSettings:
    """Read the block; a key that is no setting of ours is the name of an instrumentor of OpenTelemetry's."""
    if not isinstance(given, dict):
        return InstrumentationSettings(**read_fields(InstrumentationSettings, given))
    named = {key: value for key, value in given.items() if _is_instrumentor(key)}
    ours = {key: value for key, value in given.items() if key not in named}
    for name, value in ours.items():
        if name not in _OWN:
            raise BadValueError(value, f"{_names()}; else the keys {', '.join(_OWN)}", str(name))
    options = {plain_name(name): _read_options(name, value) for name, value in named.items() if value is not None}
    return InstrumentationSettings(**read_fields(InstrumentationSettings, ours), options=options)


_OWN = tuple(name for name in InstrumentationSettings._fields if name not in ("options", "disabled", "doubled"))


def _is_instrumentor(key: object) -> bool:
    return isinstance(key, str) and not {key, plain_name(key)} & {*_OWN} and is_known_instrumentor(key)


def _read_options(name: str, value: Any) -> dict[str, Any] | bool:
    if isinstance(value, dict):
        return {str(key): each for key, each in value.items()}
    if str(value).strip().lower() not in BOOLEANS:
        raise BadValueError(value, "true, false or a mapping with options of the instrumentor", name)
    return boolean(value)
