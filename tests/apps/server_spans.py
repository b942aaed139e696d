"""Asks the same of an app under contrib's middleware and under ours, with the same ids, and prints both answers.

The set-ups are contrib's own arguments; the first of each pair is contrib's class, the second ours.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from opentelemetry import baggage
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

from brain_otel.instrumentation.fastapi_server_span import ServerSpanMiddleware
from brain_otel.sampling import DecidedIds, HeadSampler
from brain_otel.sentry.propagator import SentryPropagator

Json = dict[str, Any]

HOST = [(b"host", b"shop.test")]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


CONTRIBS_WAY: list[None] = []
"""One for each request that contrib's own middleware has served."""

_contribs_call = OpenTelemetryMiddleware.__call__


async def _noted_call(self: OpenTelemetryMiddleware, scope: Any, receive: Any, send: Any) -> None:
    CONTRIBS_WAY.append(None)
    await _contribs_call(self, scope, receive, send)


OpenTelemetryMiddleware.__call__ = _noted_call  # type: ignore[method-assign]


class Ids(RandomIdGenerator):
    """The same ids for every run of a case."""

    def __init__(self) -> None:
        self.seed("")

    def seed(self, name: str) -> None:
        self._random = random.Random(name)

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or 1


class Tracing:
    """Spans of a rate, recorded, for both apps of a pair: contrib traces background tasks for the first app alone."""

    def __init__(self, rate: float) -> None:
        self.ids, self.exporter = Ids(), InMemorySpanExporter()
        self.provider = TracerProvider(
            sampler=HeadSampler(ParentBased(TraceIdRatioBased(rate))),
            id_generator=DecidedIds(self.ids),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))


class World:
    """An app with a middleware of a class, and what its tracing has recorded."""

    def __init__(self, middleware: type, tracing: "Tracing", **options: Any) -> None:
        self.ids, self.exporter, self.provider = tracing.ids, tracing.exporter, tracing.provider
        self.background = 0
        self.reader = InMemoryMetricReader() if options.pop("metrics", False) else None
        if self.reader is not None:
            options["meter_provider"] = MeterProvider([self.reader], shutdown_on_exit=False)
        self.response_propagator = options.pop("response_propagator", None)
        self.around = options.pop("around", False)
        self.app = create_app(self)
        if options.pop("failing_handler", False):
            self.app.add_exception_handler(Exception, fail_to_handle)
        vars(contrib)["OpenTelemetryMiddleware"] = middleware  # as brain_otel does
        given: Json = {"exclude_spans": ["send", "receive"], **options}
        contrib.FastAPIInstrumentor.instrument_app(self.app, tracer_provider=self.provider, **given)
        self.app.middleware_stack = self.app.build_middleware_stack()

    async def ask(self, name: str, scope: Json) -> Json:
        """Serve one request; all that can be seen of it."""
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
        "events": [[event.name, (event.attributes or {}).get("exception.type")] for event in span.events],
        "ids": [context.trace_id, context.span_id, int(context.trace_flags), context.trace_state.to_header()],
        "parent": span.parent and [span.parent.trace_id, span.parent.span_id, span.parent.is_remote],
        "scope": span.instrumentation_scope and [span.instrumentation_scope.name, span.instrumentation_scope.version],
        "links": len(span.links),
    }


def create_app(world: World) -> FastAPI:  # noqa: C901  # one route a line of the matrix
    app, sub, inner = FastAPI(), FastAPI(), APIRouter(prefix="/inner")

    @app.get("/items/{item_id}")
    @sub.get("/items/{item_id}")
    @inner.get("/items/{item_id}")
    @app.post("/only-post")
    async def item(item_id: str = "") -> str:
        return item_id

    @app.get("/context")
    @sub.get("/context")
    async def seen() -> Any:
        span = otel_trace.get_current_span()
        context = span.get_span_context()
        state = context.trace_state.to_header()
        ids = f"{context.trace_id:x}", f"{context.span_id:x}", int(context.trace_flags), state
        return {"ids": ids, "recording": span.is_recording(), "baggage": dict(baggage.get_all())}

    @app.get("/status/{code}")
    async def status(code: int) -> Response:
        return PlainTextResponse("é", status_code=code)

    @app.get("/named-status")
    async def named() -> Response:
        return PlainTextResponse("", status_code=HTTPStatus.CREATED)

    @app.get("/refused/{code}")
    async def refused(code: int) -> None:
        raise HTTPException(code, "no")

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("boom")

    @app.get("/boom-in-thread")
    def boom_in_thread() -> None:
        raise KeyError("boom")

    async def chunks(fails: bool) -> AsyncIterator[bytes]:
        yield b"one"
        if fails:
            raise RuntimeError("late")
        yield b"two"

    @app.get("/stream/{fails}")
    async def stream(fails: bool) -> Response:
        return StreamingResponse(chunks(fails))

    async def work(fails: bool) -> None:
        world.background = time.time_ns()
        if fails:
            raise RuntimeError("in the background")

    @app.get("/background/{fails}")
    async def background(fails: bool, tasks: BackgroundTasks) -> str:
        tasks.add_task(work, fails)
        return "done"

    @app.get("/no-body")
    async def no_body() -> Response:
        return Response(status_code=204)

    @app.head("/head")
    async def head() -> Response:
        return Response(headers={"x-head": "1"})

    @app.websocket("/rooms/{room}")
    async def room(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(room)
        await websocket.close()

    app.include_router(inner, prefix="/api")
    app.mount("/sub", sub)
    return app


def scope(path: str = "/items/7", method: str = "GET", headers: Any = HOST, **changes: Any) -> Json:
    made = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("10.0.0.9", 4711),
        "server": ("127.0.0.1", 8000),
        **changes,
    }
    return {name: value for name, value in made.items() if value is not LEFT_OUT}


LEFT_OUT = object()


def paths() -> dict[str, Callable[[], Json]]:
    plain = (
        "/items/7 /sub/items/7 /api/inner/items/7 /sub/nowhere /nowhere /status/200 /status/302 /status/404 "
        "/status/500 /status/599 /named-status /refused/403 /refused/422 /refused/503 /boom /boom-in-thread "
        "/stream/false /stream/true /background/false /background/true /no-body /context /sub/context"
    )
    found: dict[str, Callable[[], Json]] = {f"GET {path}": partial(scope, path) for path in plain.split()}
    for method, path in (
        ("POST", "/items/7"),
        ("POST", "/only-post"),
        ("HEAD", "/head"),
        ("HEAD", "/items/7"),
        ("BREW", "/items/7"),
        ("get", "/items/7"),
        ("QUERY", "/nowhere"),
    ):
        found[f"{method} {path}"] = partial(scope, path, method)
    return found


SCOPES: dict[str, Json] = {
    "query": {"query_string": b"a=1&b=%20c&token=secret"},
    "query as text": {"query_string": "a=1"},
    "ipv6 server": {"server": ("::1", 8000)},
    "port 80": {"server": ("shop", 80)},
    "port 443": {"server": ("shop", 443), "scheme": "https"},
    "no server": {"server": None},
    "server left out": {"server": LEFT_OUT},
    "no client": {"client": None},
    "client left out": {"client": LEFT_OUT},
    "client of a socket": {"client": ("", 0)},
    "http 2": {"http_version": "2"},
    "no version": {"http_version": LEFT_OUT},
    "root path": {"root_path": "/api", "path": "/api/items/7"},
    "unicode path": {"path": "/items/é"},
}

HEADERS: dict[str, list[tuple[bytes, bytes]]] = {
    "no headers": [],
    "browser": [(b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")],
    "bot": [(b"user-agent", b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")],
    "synthetic test": [(b"user-agent", b"AlwaysOn")],
    "two agents": [(b"user-agent", b"first"), (b"user-agent", b"second")],
    "empty agent": [(b"user-agent", b"")],
    "latin-1 agent": [(b"user-agent", "Café/1".encode("latin-1"))],
    "upper-case names": [(b"User-Agent", b"curl/8"), (b"Traceparent", PARENT.encode())],
    "latin-1 name": [(b"x-\xe9", b"1"), (b"user-agent", b"curl/8")],
    "traceparent": [(b"traceparent", PARENT.encode())],
    "traceparent, unsampled": [(b"traceparent", UNSAMPLED.encode())],
    "tracestate": [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1,b=2")],
    "tracestate twice": [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")],
    "tracestate alone": [(b"tracestate", b"a=1")],
    "random flag": [(b"traceparent", PARENT[:-2].encode() + b"03")],
    "traceparent, malformed": [(b"traceparent", b"00-zz-1-01")],
    "traceparent, zeroes": [(b"traceparent", f"00-{'0' * 32}-{SPAN}-01".encode())],
    "baggage": [(b"baggage", b"user=7,plan=gold")],
    "baggage, malformed": [(b"baggage", b"=,;;,a")],
    "baggage and traceparent": [(b"traceparent", PARENT.encode()), (b"baggage", b"user=7")],
    "sentry": [(b"sentry-trace", f"{TRACE}-{SPAN}-1".encode()), (b"baggage", b"sentry-sample_rand=0.25,a=b")],
    "sentry, unsampled": [(b"sentry-trace", f"{TRACE}-{SPAN}-0".encode())],
    "sentry, deferred": [(b"sentry-trace", f"{TRACE}-{SPAN}".encode())],
    "sentry, malformed": [(b"sentry-trace", b"nonsense")],
    "both, of one mind": [(b"traceparent", PARENT.encode()), (b"sentry-trace", f"{TRACE}-{SPAN}-1".encode())],
    "both, at odds": [(b"traceparent", PARENT.encode()), (b"sentry-trace", f"{TRACE}-{SPAN}-0".encode())],
    "both, two traces": [(b"traceparent", PARENT.encode()), (b"sentry-trace", f"{'a' * 32}-{SPAN}-1".encode())],
}


def cases() -> dict[str, Callable[[], Json]]:
    found = paths()
    for name, changes in SCOPES.items():
        found[name] = partial(scope, **changes)
    for name, headers in HEADERS.items():
        hosts = [] if name == "no headers" else HOST
        found[name] = partial(scope, "/context", headers=[*hosts, *headers])
    return found


def differing() -> dict[str, Callable[[], Json]]:
    return {
        "unix socket": lambda: scope(server=("/run/shop.sock", None)),
        "undecodable query": lambda: scope(query_string=b"a=\xff\xfe"),
    }


def unusual() -> dict[str, Callable[[], Json]]:
    headers = [*HOST, (b"x-shop", b"1"), (b"content-length", b"12")]
    found: dict[str, Callable[[], Json]] = {
        path: partial(scope, path, headers=headers, query_string=b"a=1")
        for path in ("/items/7", "/context", "/boom", "/nowhere", "/background/false", "/stream/true")
    }
    found["websocket"] = lambda: {
        **scope("/rooms/blue", type="websocket", scheme="ws", subprotocols=[]),
        "messages": [{"type": "websocket.connect"}],
    }
    return found


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
    worlds = [World(kind, tracing, **options) for kind in (OpenTelemetryMiddleware, ServerSpanMiddleware)]
    found: Json = {}
    ways: Json = {}
    for name, make in asked.items():
        contribs = await worlds[0].ask(name, make())
        before = len(CONTRIBS_WAY)
        found[name] = [contribs, await worlds[1].ask(name, make())]
        ways[name] = "contrib's" if len(CONTRIBS_WAY) > before else "short"
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
            found[f"rate {rate}"] = await compared(rate, cases(), {})
        found["differing"] = await compared(1.0, differing(), {})
        for name, options in WORLDS.items():
            for rate in (1.0, 0.0):
                found[f"{name}, rate {rate}"] = await compared(rate, unusual(), options)
    print(json.dumps(found))


asyncio.run(main())
