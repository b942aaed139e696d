"""Counts failures: the metric ``brain_otel.errors``, by exception type, route, and whether they were handled.

It has every failure that is an event in Sentry and has an exception, whether its trace is sampled and whether Sentry
is set up, so that alerts on errors can be written anywhere. Without a ``meter_provider`` nothing is counted.
"""

from opentelemetry import metrics
from opentelemetry.metrics import Counter
from opentelemetry.semconv.attributes import error_attributes, http_attributes

from brain_otel.events.attributes import class_name
from brain_otel.events.deduplication import record_counted, trace_of, was_counted
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.text import encodable
from brain_otel.runtime.version import __version__
from brain_otel.traces import scope
from brain_otel.traces.local_trace import LocalTrace

NAME = "brain_otel.errors"

HANDLED = "handled"
"""The attribute that says whether the application caught the exception."""

OTHER = "_OTHER"
"""Stands for every type or route beyond the first; the semantic conventions use it for ``error.type``."""

MAX_TYPES = 100
"""Types of one process that are counted by name. An application may make classes without end."""

MAX_ROUTES = 100
"""Routes of one process that are counted by name."""


class _Known:
    """The counter of the current meter provider, and the values that it has counted."""

    provider: object = None
    counter: Counter | None = None
    types: dict[str, str] = {}  # noqa: RUF012 - the one holder of this state
    routes: dict[str, str] = {}  # noqa: RUF012


def count_error(error: BaseException, *, handled: bool) -> bool:
    """Count ``error`` unless it has been counted; whether this is the first time."""
    if was_counted(error):
        return False
    record_counted(error)
    with guarded("counting an error"):
        counter = _counter()
        kind = _bounded(class_name(type(error)), _Known.types, MAX_TYPES)
        attributes: dict[str, str | bool] = {error_attributes.ERROR_TYPE: kind, HANDLED: handled}
        route = _route_of(trace_of(error))
        if route is not None:
            attributes[http_attributes.HTTP_ROUTE] = _bounded(route, _Known.routes, MAX_ROUTES)
        counter.add(1, attributes)
    return True


def _counter() -> Counter:
    provider = metrics.get_meter_provider()
    if _Known.counter is None or _Known.provider is not provider:
        description = "Failures of the application, each counted once."
        meter = provider.get_meter(scope.NAME, __version__, scope.SCHEMA_URL)
        _Known.counter = meter.create_counter(NAME, "{error}", description)
        _Known.provider, _Known.types, _Known.routes = provider, {}, {}
    return _Known.counter


def _bounded(value: str, known: dict[str, str], limit: int) -> str:
    """``value`` as an attribute, or ``_OTHER`` if there have been ``limit`` others."""
    found = known.get(value)
    if found is not None:
        return found
    if len(known) >= limit:
        return OTHER
    return known.setdefault(value, encodable(value))


def _route_of(trace: LocalTrace | None) -> str | None:
    """The route of the request that ``trace`` is, or is a part of; None outside of requests."""
    while trace is not None and trace.kind != "request":
        trace = trace.parent
    name = trace.describe() if trace is not None and trace.describe is not None else None
    if name is None or name.source != "route":
        return None
    return name.text if name.text.startswith("/") else name.text.partition(" ")[2]
