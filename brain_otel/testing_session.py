"""Sets brain_otel up in memory for one test and undoes it; :mod:`brain_otel.testing` uses it.

OpenTelemetry's globals can be set once per process
(https://github.com/open-telemetry/opentelemetry-python/issues/4557), and a tracer that was made at import keeps the
first provider it sees. So all tests share one provider, each with its own span processors, and the global is set only
while a test runs.
"""

import copy
import itertools
import os
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any, Self

from opentelemetry import _logs as otel_logs
from opentelemetry import propagate
from opentelemetry import trace as otel_trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from brain_otel import telemetry
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.options import Options
from brain_otel.destinations.memory import Memory, MemorySpanProcessor
from brain_otel.instrumentation.propagation import GuardedPropagator
from brain_otel.privacy import policy
from brain_otel.privacy.processors import masked_log_record
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.guard import forget_logged_places, reraise_failures
from brain_otel.sampling.head import HeadSampler
from brain_otel.sdk.setup import SEMANTIC_CONVENTIONS, prefer_stable_semantic_conventions
from brain_otel.sentry.memory_transport import MemoryTransport, isolated
from brain_otel.sentry.propagator import SentryPropagator

_PLURALS = {"event": "events", "transaction": "transactions"}


class SwitchableIds(IdGenerator):
    """Random ids, or numbers from 1 on."""

    def __init__(self) -> None:
        self.random()

    def random(self) -> None:
        """Make random ids."""
        self._random = RandomIdGenerator()
        self._numbers: itertools.count[int] | None = None

    def sequential(self) -> None:
        """Number ids from 1 on."""
        self._numbers = itertools.count(1)

    def generate_span_id(self) -> int:
        """The next span id."""
        return self._random.generate_span_id() if self._numbers is None else next(self._numbers)

    def generate_trace_id(self) -> int:
        """The next trace id."""
        return self._random.generate_trace_id() if self._numbers is None else next(self._numbers)


class _SwitchableSampler(Sampler):
    """Delegates to the sampler of the current test; tracers keep the sampler they were made with."""

    def __init__(self) -> None:
        self.current: Sampler = HeadSampler(ParentBased(TraceIdRatioBased(1.0)))

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return self.current.should_sample(*args, **kwargs)

    def get_description(self) -> str:
        return self.current.get_description()


class _SharedProvider(TracerProvider):
    """The one provider of all tests, with the span processors of the current one."""

    def __init__(self) -> None:
        self.ids = SwitchableIds()
        self.switch = _SwitchableSampler()
        super().__init__(
            sampler=self.switch,
            id_generator=self.ids,
            resource=Resource({"service.name": "test"}),
            shutdown_on_exit=False,
        )
        self._current = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]  # the SDK has no types here
        super().add_span_processor(_Forwarding(self))

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        self._current.add_span_processor(span_processor)

    def reset(self) -> None:
        self._current = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]  # the SDK has no types here
        self.ids.random()


class _Forwarding(SpanProcessor):
    """Hands spans to the processors of the current test."""

    def __init__(self, provider: _SharedProvider) -> None:
        self._provider = provider

    def on_start(self, span: sdk_trace.Span, parent_context: Any = None) -> None:
        self._provider._current.on_start(span, parent_context)

    def on_end(self, span: sdk_trace.ReadableSpan) -> None:
        self._provider._current.on_end(span)


@cache
def _provider() -> _SharedProvider:
    return _SharedProvider()


class Session:
    """Captures everything between enter and exit, which restores what was before."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._stack = ExitStack()
        self.breadcrumbs: deque[dict[str, Any]] = deque(maxlen=10_000)
        self.spans = Memory()
        self.logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's has no types
        self.ids = _provider().ids
        self.transport = MemoryTransport({"dsn": environ.get("SENTRY_DSN")})

    def __enter__(self) -> Self:
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            raise RuntimeError("OTEL_SDK_DISABLED is true, so OpenTelemetry records nothing; the fixture needs it to")
        if telemetry.is_set_up() and not telemetry.is_disabled():
            raise RuntimeError("brain_otel is set up already in this process; the fixture needs to do it itself")
        settings = read_settings(self._environ)
        options = {"transport": self.transport, "before_breadcrumb": self._keep_breadcrumb}
        settings = settings._replace(
            destinations=(Options(options, name="sentry"), Options(name="sentry", signal="logs")),
            sentry=settings.sentry._replace(profiles_sample_rate=0.0) if settings.sentry else None,
        )
        self._set_globals(settings.sentry.traces_sample_rate if settings.sentry else 1.0)
        self._stack.enter_context(isolated())
        provider = _provider()
        provider.add_span_processor(MemorySpanProcessor(self.spans))
        telemetry.start(settings, provider)
        forget_logged_places()
        reraise_failures(True)
        return self

    def __exit__(self, *_: object) -> None:
        reraise_failures(False)
        telemetry.shutdown()
        telemetry.forget()
        _provider().reset()
        self._stack.close()

    def clear(self) -> None:
        """Discard what was captured so far."""
        telemetry.flush()
        self.spans.spans.clear()
        self.breadcrumbs.clear()
        self.logs.clear()
        self.transport.items.clear()
        self.transport.headers.clear()

    def sent(self) -> dict[str, Any]:
        """Everything captured, as it would leave: Sentry's items by kind, and spans, logs and breadcrumbs, masked."""
        telemetry.flush()
        sent: dict[str, Any] = {
            "spans": [_sent_span(MaskedSpan(span)) for span in self.spans.spans],
            "logs": [_sent_log(record) for record in self.logs.get_finished_logs()],
            "breadcrumbs": [policy().value(crumb) for crumb in self.breadcrumbs],
            "envelopes": self.transport.headers,
        }
        for kind, payload in self.transport.items:
            sent.setdefault(_PLURALS.get(kind, kind), []).append(payload)
        return sent

    def use_clock(self, start: float, step: float) -> None:
        """Replace the SDK's clock, a name that it imports, until the end."""
        readings = itertools.count(int(start * 1e9), int(step * 1e9))
        self._replace(sdk_trace, "time_ns", lambda: next(readings))

    def _keep_breadcrumb(self, crumb: Any, hint: Any) -> Any:  # noqa: ARG002 - sentry-sdk passes it
        self.breadcrumbs.append(crumb)
        return crumb

    def _set_globals(self, rate: float) -> None:
        """Set OpenTelemetry's globals; private names, because the API cannot unset them."""
        provider = _provider()
        provider.switch.current = HeadSampler(ParentBased(TraceIdRatioBased(rate)))
        self._replace(otel_trace, "_TRACER_PROVIDER", provider)
        self._replace(otel_trace, "_TRACER_PROVIDER_SET_ONCE", type(otel_trace._TRACER_PROVIDER_SET_ONCE)())
        logger_provider = LoggerProvider(shutdown_on_exit=False)
        logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self._replace(otel_logs._internal, "_LOGGER_PROVIDER", logger_provider)
        before = propagate.get_global_textmap()
        parts = [TraceContextTextMapPropagator(), W3CBaggagePropagator(), SentryPropagator()]
        propagate.set_global_textmap(GuardedPropagator(CompositePropagator(parts)))
        self._stack.callback(propagate.set_global_textmap, before)
        if SEMANTIC_CONVENTIONS not in os.environ:
            self._stack.callback(os.environ.pop, SEMANTIC_CONVENTIONS, None)
        prefer_stable_semantic_conventions()

    def _replace(self, module: Any, name: str, value: object) -> None:
        self._stack.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, value)


def span_data(span: ReadableSpan) -> dict[str, Any]:
    """A span as plain data."""
    context = span.get_span_context()
    return {
        "name": span.name,
        "trace_id": f"{context.trace_id:032x}" if context else None,
        "span_id": f"{context.span_id:016x}" if context else None,
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "kind": span.kind.name.lower(),
        "status": span.status.status_code.name.lower(),
        "status_description": span.status.description,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": each.name, "attributes": dict(each.attributes or {})} for each in span.events],
        "links": [f"{each.context.trace_id:032x}-{each.context.span_id:016x}" for each in span.links],
        "start_time": (span.start_time or 0) / 1e9,
        "end_time": (span.end_time or 0) / 1e9,
    }


def log_data(record: Any) -> dict[str, Any]:
    """A log record as plain data."""
    return {
        "body": record.body,
        "severity": record.severity_text,
        "trace_id": f"{record.trace_id:032x}" if record.trace_id else None,
        "span_id": f"{record.span_id:016x}" if record.span_id else None,
        "attributes": dict(record.attributes or {}),
    }


def _sent_span(span: MaskedSpan) -> dict[str, Any]:
    contexts = [span.context, span.parent, *(link.context for link in span.links)]
    return {
        **span_data(span),
        "links": [dict(link.attributes or {}) for link in span.links],
        "trace_states": [dict(context.trace_state) for context in contexts if context is not None],
        **_surroundings(span.resource, span.instrumentation_scope),
    }


def _sent_log(record: ReadableLogRecord) -> dict[str, Any]:
    given = ReadWriteLogRecord(copy.copy(record.log_record), record.resource, record.instrumentation_scope)
    masked = masked_log_record(given)
    event_name = masked.log_record.event_name
    around = _surroundings(masked.resource, masked.instrumentation_scope)
    return {**log_data(masked.log_record), "event_name": event_name, **around}


def _surroundings(resource: Resource | None, scope: InstrumentationScope | None) -> dict[str, Any]:
    return {
        "resource": dict(resource.attributes) if resource else {},
        "scope": [scope.name, scope.version, scope.schema_url, dict(scope.attributes or {})] if scope else [],
    }
