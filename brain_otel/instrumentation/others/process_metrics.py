"""Measures the process by OpenTelemetry's ``system_metrics``, with names, units and attributes of the registry.

To import the instrumentor and psutil takes 16 ms, so it begins with the first collection, on the reader's thread.
The SDK cannot create instruments while it collects. So they are created here, and ask the instrumentor's callbacks.
https://opentelemetry.io/docs/specs/semconv/system/process-metrics/
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.traces.scope import create_meter

Callback = Callable[[CallbackOptions], Iterable[Observation]]


class _Metric(NamedTuple):
    """A metric of the registry."""

    name: str
    kind: str
    unit: str
    description: str
    key: str
    """Its name in the instrumentor's configuration."""
    parts: list[str] | None = None
    """Its values of the attribute ``type``, in the instrumentor's configuration."""
    attributes: Mapping[str, str | None] = {}
    """The instrumentor's attributes by other names; None leaves one out."""


_METRICS = (
    _Metric(
        *("process.cpu.time", "counter", "s", "CPU time of the process.", "process.cpu.time"),
        parts=["user", "system"],
        attributes={"type": "cpu.mode"},
    ),
    _Metric("process.memory.usage", "up_down_counter", "By", "Physical memory in use.", "process.memory.usage"),
    _Metric("process.thread.count", "up_down_counter", "{thread}", "Threads.", "process.thread.count"),
    _Metric(
        *("process.unix.file_descriptor.count", "up_down_counter", "{file_descriptor}", "Open file descriptors."),
        "process.open_file_descriptor.count",
    ),
    _Metric(
        *("cpython.gc.collections", "counter", "{collection}", "Garbage collections.", "cpython.gc.collections"),
        attributes={"generation": None},  # `cpython.gc.generation` is there too
    ),
)
"""Without a configuration, the instrumentor measures each processor, disk and network of the machine."""

CONFIG = {metric.key: metric.parts for metric in _METRICS}


class ProcessMetrics:
    """The process's metrics, and the meter provider that the instrumentor gets.

    Args:
        begin: Enables the instrumentor with :data:`CONFIG` and this meter provider, and returns it; None if it is not
            to be used.
        is_ours: Whether the instrumentor that ``begin`` has enabled is in use.
    """

    def __init__(self, begin: Callable[["ProcessMetrics"], Any], is_ours: Callable[[], bool]) -> None:
        self._begin = begin
        self._is_ours = is_ours
        self._process: int | None = None
        self._instrumentor: Any = None
        self._callbacks: dict[str, Sequence[Callback]] = {}

    def create(self) -> None:
        """Create the instruments."""
        meter = create_meter(__name__)
        for metric in _METRICS:
            create = getattr(meter, f"create_observable_{metric.kind}")
            create(metric.name, [functools.partial(self._observe, metric)], metric.unit, metric.description)

    def get_meter(self, *_: Any, **__: Any) -> "ProcessMetrics":
        """The instrumentor's meter, which only keeps its callbacks."""
        return self

    def _keep(self, name: str, callbacks: Sequence[Callback], **_: Any) -> None:
        self._callbacks[name] = callbacks

    create_observable_counter = create_observable_up_down_counter = create_observable_gauge = _keep

    def _observe(self, metric: _Metric, options: CallbackOptions) -> list[Observation]:
        with guarded("measuring the process"):
            self._begin_once()
            if self._is_ours():
                return list(self._observations(metric, options))
        return []

    def _begin_once(self) -> None:
        """Begin in this process, or in the one that has been forked from it."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        if self._instrumentor is None:
            self._instrumentor = self._begin(self)
        elif self._is_ours():
            type(self._instrumentor)(config=CONFIG)  # the same object, which now looks at this process

    def _observations(self, metric: _Metric, options: CallbackOptions) -> Iterator[Observation]:
        for callback in self._callbacks.get(metric.key, ()):
            for each in callback(options):
                given = (each.attributes or {}).items()
                named = {metric.attributes.get(key, key): value for key, value in given}
                yield Observation(each.value, {key: value for key, value in named.items() if key is not None})
