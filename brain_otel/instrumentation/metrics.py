"""Metrics that contrib does not record: durations of database operations and of failed requests, sampled or not.

``db.client.operation.duration``, its attributes and its buckets follow the stable `semantic conventions
<https://opentelemetry.io/docs/specs/semconv/database/database-metrics/>`_. Each attribute has few values: none holds
a statement or a key.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Histogram
from opentelemetry.semconv.metrics.db_metrics import DB_CLIENT_OPERATION_DURATION

from brain_otel.instrumentation.database import failure_attributes
from brain_otel.runtime.guard import guarded
from brain_otel.traces.scope import create_meter, is_measured

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Seconds, from the semantic conventions."""


class Durations:
    """Measures the operations of one kind of client, in seconds."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def start(self) -> float | None:
        """The time for :meth:`record`; None where instrumentation is suppressed."""
        return perf_counter() if is_instrumentation_enabled() else None

    def record(
        self, started: float | None, attributes: Mapping[str, Any], error: BaseException | None = None
    ) -> None:
        """Record an operation that began at ``started`` and has ended now, with ``error`` if it failed."""
        if started is None:
            return
        seconds = perf_counter() - started
        with guarded("measuring an operation"):
            known = dict(attributes)
            if error is not None:
                known |= failure_attributes(error)
            self._histogram.record(seconds, known)


def create_durations(
    scope: str,
    name: str = DB_CLIENT_OPERATION_DURATION,
    description: str = "Duration of database client operations.",
    buckets: Sequence[float] = _BUCKETS,
) -> Durations | None:
    """Create the histogram ``name`` of the instrumentation ``scope``; None without a ``meter_provider``."""
    if not is_measured():
        return None
    histogram = create_meter(scope).create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=buckets
    )
    return Durations(histogram)
