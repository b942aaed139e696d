"""Makes the same requests to an app under our middleware without and with its fast path, and prints both results.

Both use the same ids. The set-ups are arguments of contrib's middleware, which serves without the fast path.
"""

import asyncio
import itertools
import json
import os
import random
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request, Response
from opentelemetry import trace as otel_trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.instrumentation import fastapi as contrib
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.propagators import TraceResponsePropagator, set_global_response_propagator
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from brain_otel.instrumentation.exception_recording import patch_exception_recording
from brain_otel.instrumentation.fastapi.attributes import patch_attributes
from brain_otel.instrumentation.fastapi.server_span import ServerSpanMiddleware
from brain_otel.runtime.patch import Patches
from brain_otel.sampling.context import DecidedIds
from brain_otel.sampling.head import HeadSampler
from brain_otel.sentry.propagator import SentryPropagator
from tests.apps.server_app import create_app
from tests.apps.server_requests import differing, unusual, usual

Json = dict[str, Any]


SERVED_BY_CONTRIB: list[None] = []
"""One entry for each request that contrib's own middleware has served."""

_contribs_call = OpenTelemetryMiddleware.__call__


async def _noted_call(self: OpenTelemetryMiddleware, scope: Any, receive: Any, send: Any) -> None:
    SERVED_BY_CONTRIB.append(None)
    await _contribs_call(self, scope, receive, send)


OpenTelemetryMiddleware.__call__ = _noted_call  # type: ignore[method-assign]


class SlowMiddleware(ServerSpanMiddleware):
    """Has contrib serve every request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_fast = False


patch_attributes(Patches())
patch_exception_recording(Patches())


class Ids(RandomIdGenerator):
    """Generates the same ids in every run of a case."""

    def __init__(self) -> None:
        self.seed("")

    def seed(self, name: str) -> None:
        self._random = random.Random(name)

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or 1


class Tracing:
    """Records the spans of both apps of a pair: contrib traces background tasks for the first app alone."""

    def __init__(self, rate: float) -> None:
        self.ids, self.exporter = Ids(), InMemorySpanExporter()
        self.provider = TracerProvider(
            sampler=HeadSampler(ParentBased(TraceIdRatioBased(rate))),
            id_generator=DecidedIds(self.ids),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))


class World:
    """An app under one middleware, and the spans of its requests."""

    def __init__(self, middleware: type, tracing: "Tracing", **options: Any) -> None:
        self.ids, self.exporter, self.provider = tracing.ids, tracing.exporter, tracing.provider
        self.background = 0
        self.reader = InMemoryMetricReader() if options.pop("metrics", False) else None
        if self.reader is not None:
            options["meter_provider"] = MeterProvider([self.reader], shutdown_on_exit=False)
        self.response_propagator = options.pop("response_propagator", None)
        self.around = options.pop("around", False)
        self.app = create_app(self.note)
        if options.pop("failing_handler", False):
            self.app.add_exception_handler(Exception, fail_to_handle)
        vars(contrib)["OpenTelemetryMiddleware"] = middleware  # like brain_otel
        given: Json = {"exclude_spans": ["send", "receive"], **options}
        contrib.FastAPIInstrumentor.instrument_app(self.app, tracer_provider=self.provider, **given)
        self.app.middleware_stack = self.app.build_middleware_stack()

    def note(self, moment: int) -> None:
        """Record that a background task began at ``moment``."""
        self.background = moment

    async def ask(self, name: str, scope: Json) -> Json:
        """Serve one request and return everything observable: answer, spans, log lines, error."""
        self.ids.seed(name)
        self.exporter.clear()
        self.background = 0
        sent: list[str] = []
        messages = iter(scope.pop("messages", [{"type": "http.request", "body": b"", "more_body": False}]))

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(repr(sorted(message.items())))

        raised = None
        set_global_response_propagator(self.response_propagator)  # type: ignore[no-untyped-call]
        try:
            if self.around:
                with self.provider.get_tracer("test").start_as_current_span("around"):
                    await self.app(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        except Exception as error:
            raised = repr(error)
        finally:
            set_global_response_propagator(None)  # type: ignore[no-untyped-call]
        spans = self.exporter.get_finished_spans()
        servers = [span for span in spans if span.kind is otel_trace.SpanKind.SERVER]
        return {
            "sent": sent,
            "raised": raised,
            "spans": [described(span) for span in spans],
            "ends before background work": not self.background
            or all((span.end_time or 0) <= self.background for span in servers),
            "left current": otel_trace.get_current_span().get_span_context().is_valid,
        }

    def metrics(self) -> list[Any]:
        data = self.reader.get_metrics_data() if self.reader is not None else None
        if data is None:
            return []
        found = json.loads(data.to_json())["resource_metrics"][0]["scope_metrics"]
        return [
            [metric["name"], sorted((repr(sorted(p["attributes"].items())), p.get("count")) for p in points(metric))]
            for scope in found
            for metric in scope["metrics"]
        ]


def points(metric: Json) -> list[Json]:
    found: list[Json] = metric["data"]["data_points"]
    return found


def described(span: ReadableSpan) -> Json:
    context = span.get_span_context()
    assert context is not None
    return {
        "name": span.name,
        "kind": span.kind.name,
        "attributes": {
            name: [type(value).__name__, value] for name, value in sorted((span.attributes or {}).items())
        },
        "status": [span.status.status_code.name, span.status.description],
        "events": without_repetitions(
            [[event.name, (event.attributes or {}).get("exception.type")] for event in span.events]
        ),
        "ids": [context.trace_id, context.span_id, int(context.trace_flags), context.trace_state.to_header()],
        "parent": span.parent and [span.parent.trace_id, span.parent.span_id, span.parent.is_remote],
        "scope": span.instrumentation_scope and [span.instrumentation_scope.name, span.instrumentation_scope.version],
        "links": len(span.links),
    }


def without_repetitions(events: list[Any]) -> list[Any]:
    """Contrib records the exception of a stream twice."""
    return [event for event, _ in itertools.groupby(events)]


async def fail_to_handle(request: Request, error: Exception) -> Response:
    raise LookupError("handling") from error


def hook(span: Any, scope: Any) -> None:
    span.set_attribute("hook", scope["path"])


WORLDS: dict[str, Mapping[str, Any]] = {
    "excluded": {"excluded_urls": "items,boom"},
    "captured headers": {
        "http_capture_headers_server_request": ["x-.*"],
        "http_capture_headers_server_response": ["content-.*"],
    },
    "metrics": {"metrics": True},
    "response propagator": {"response_propagator": TraceResponsePropagator()},
    "a span around": {"around": True},
    "a handler that fails": {"failing_handler": True},
    "a hook": {"server_request_hook": hook},
    "send and receive spans": {"exclude_spans": None},
    "send spans": {"exclude_spans": ["receive"]},
    "usual": {},
}


async def compared(rate: float, asked: Mapping[str, Callable[[], Json]], options: Mapping[str, Any]) -> Json:
    tracing = Tracing(rate)
    worlds = [World(kind, tracing, **options) for kind in (SlowMiddleware, ServerSpanMiddleware)]
    found: Json = {}
    ways: Json = {}
    for name, make in asked.items():
        contribs = await worlds[0].ask(name, make())
        before = len(SERVED_BY_CONTRIB)
        found[name] = [contribs, await worlds[1].ask(name, make())]
        ways[name] = "contrib" if len(SERVED_BY_CONTRIB) > before else "fast"
    contrib.FastAPIInstrumentor.uninstrument_app(worlds[0].app)
    contrib.FastAPIInstrumentor.uninstrument_app(worlds[1].app)
    return {"answers": found, "ways": ways, "metrics": [world.metrics() for world in worlds]}


async def main() -> None:
    set_global_textmap(
        CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator(), SentryPropagator()])
    )
    found: Json = {}
    if os.environ.get("ONLY_UNUSUAL"):
        found["unusual"] = await compared(1.0, unusual(), {})
    else:
        for rate in (1.0, 0.5, 0.0):
            found[f"rate {rate}"] = await compared(rate, usual(), {})
        found["differing"] = await compared(1.0, differing(), {})
        for name, options in WORLDS.items():
            for rate in (1.0, 0.0):
                found[f"{name}, rate {rate}"] = await compared(rate, unusual(), options)
    print(json.dumps(found))


asyncio.run(main())
