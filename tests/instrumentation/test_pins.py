"""Pins each private name of OpenTelemetry that the instrumentations use to its meaning."""

import asyncio
import importlib
import inspect
import json
import sys
from types import SimpleNamespace
from typing import Any

import opentelemetry.instrumentation.redis as contrib_redis
import pytest
import redis
from fastapi import APIRouter, FastAPI
from opentelemetry import metrics
from opentelemetry.context import Context, get_current
from opentelemetry.instrumentation import fastapi as contrib_fastapi
from opentelemetry.instrumentation._semconv import (
    _get_semconv_opt_in_modes,
    _OpenTelemetrySemanticConventionStability,
    _OpenTelemetryStabilitySignalType,
    _report_old,
    _set_db_system,
    _StabilityMode,
)
from opentelemetry.instrumentation.asgi import (
    OpenTelemetryMiddleware,
    asgi_setter,
    get_host_port_url_tuple,
    set_status_code,
)
from opentelemetry.instrumentation.fastapi import _flatten_routes
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import util
from opentelemetry.instrumentation.sqlalchemy import engine as contrib_sqlalchemy
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer, _wrap_connect
from opentelemetry.instrumentation.utils import (
    is_http_instrumentation_enabled,
    is_instrumentation_enabled,
    suppress_http_instrumentation,
    suppress_instrumentation,
)
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.metrics import get_meter_provider
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState
from opentelemetry.util.http import ExcludeList
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from brain_otel.instrumentation import span_scope
from brain_otel.instrumentation.fastapi.routes import find_route
from brain_otel.instrumentation.redis.command_span import _Spans
from brain_otel.instrumentation.span_scope import is_enabled, is_http_enabled

STABLE = (_StabilityMode.DATABASE, _StabilityMode.HTTP)


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_contrib_looks_up_its_middleware_when_it_builds_an_app() -> None:
    """A class that replaces this name in contrib's module serves the app."""
    assert contrib_fastapi.__dict__["OpenTelemetryMiddleware"] is OpenTelemetryMiddleware
    source = inspect.getsource(contrib_fastapi.FastAPIInstrumentor.instrument_app)
    assert "OpenTelemetryMiddleware(\n" in source


def test_contribs_middleware_keeps_its_options() -> None:
    """The fast path reads these attributes to tell whether it can serve a request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    made = OpenTelemetryMiddleware(
        app,
        excluded_urls="a,b",
        exclude_spans=["send"],
        http_capture_headers_server_request=["x"],
        http_capture_headers_server_response=["y"],
    )
    kept = vars(made)
    assert kept["exclude_send_span"] is True
    assert kept["exclude_receive_span"] is False
    assert kept["http_capture_headers_server_request"] == ["x"]
    assert kept["http_capture_headers_server_response"] == ["y"]
    assert isinstance(kept["excluded_urls"], ExcludeList)
    assert kept["_sem_conv_opt_in_mode"] in _StabilityMode
    assert kept.keys() >= {"app", "tracer", "meter", "default_span_details", "server_request_hook"}


def test_contrib_distinguishes_stable_and_old_conventions() -> None:
    """`_report_old` is false for the stable ones alone."""
    assert not _report_old(_StabilityMode.HTTP)
    assert not _report_old(_StabilityMode.DATABASE)
    assert _report_old(_StabilityMode.DEFAULT)
    assert _report_old(_StabilityMode.HTTP_DUP)
    kinds = (_OpenTelemetryStabilitySignalType.DATABASE, _OpenTelemetryStabilitySignalType.HTTP)
    assert set(_get_semconv_opt_in_modes(kinds)) == set(kinds)
    assert callable(_OpenTelemetrySemanticConventionStability._initialize)


def test_contrib_exports_what_describes_a_server() -> None:
    """Its URL, how a status is recorded, and how a header is set on a message."""
    scope = {"scheme": "http", "server": ("shop", 8000), "path": "/a", "headers": []}
    assert get_host_port_url_tuple(scope) == ("shop:8000", 8000, "http://shop:8000/a")  # type: ignore[no-untyped-call]
    assert parameters(set_status_code)[:2] == ["span", "status_code"]
    message: dict[str, Any] = {}
    asgi_setter.set(message, "A", "b")
    assert message == {"headers": [[b"a", b"b"]]}


def test_a_composite_propagator_keeps_its_parts() -> None:
    """In `_propagators`."""
    part = TraceContextTextMapPropagator()
    assert list(CompositePropagator([part])._propagators) == [part]
    assert type(part).__module__ == "opentelemetry.trace.propagation.tracecontext"


def test_a_tracer_generates_the_trace_id_before_it_asks_the_sampler() -> None:
    """It uses its own `sampler` and `id_generator`, which are the provider's."""
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("test")
    assert isinstance(tracer, Tracer)
    assert tracer.sampler is provider.sampler
    assert tracer.id_generator is provider.id_generator
    assert RandomIdGenerator().is_trace_id_random() is True
    source = inspect.getsource(Tracer.start_span)
    assert source.index("generate_trace_id()") < source.index("should_sample(")


@pytest.mark.parametrize("name", ["_handle_request_wrapper", "_handle_async_request_wrapper"])
def test_contribs_wrappers_of_httpx_have_these_parameters(name: str) -> None:
    """The fast path would ignore an option that it does not know."""
    wrapper = getattr(HTTPXClientInstrumentor, name)
    assert isinstance(inspect.getattr_static(HTTPXClientInstrumentor, name), staticmethod)
    hooks = ["async_request_hook", "async_response_hook"] if "async" in name else ["request_hook", "response_hook"]
    assert parameters(wrapper) == [
        "wrapped",
        "instance",
        "args",
        "kwargs",
        "module",
        "tracer",
        "duration_histogram_old",
        "duration_histogram_new",
        "sem_conv_opt_in_mode",
        *hooks,
        "excluded_urls",
        "captured_request_headers",
        "captured_response_headers",
        "sensitive_headers",
    ]


def test_an_exclude_list_keeps_its_expressions() -> None:
    """`_excluded_urls` is false if nothing is excluded."""
    assert not ExcludeList([])._excluded_urls
    assert ExcludeList(["a"])._excluded_urls


def test_contribs_factories_for_redis_have_these_parameters() -> None:
    """Contrib looks them up when it instruments, and the functions that they call when a command runs."""
    for name in ("_traced_execute_pipeline_factory", "_async_traced_execute_pipeline_factory"):
        assert parameters(getattr(contrib_redis, name)) == ["tracer", "request_hook", "response_hook"]
    for name in ("_traced_execute_factory", "_async_traced_execute_factory"):
        assert parameters(getattr(contrib_redis, name)) == ["tracer", "request_hook", "response_hook"]
        source = inspect.getsource(contrib_redis.__dict__[name])
        assert "_format_command_args(args)" in source
        assert "_build_span_name(instance, args)" in source
    source = inspect.getsource(contrib_redis._traced_execute_factory)
    assert '"redis.create_index"' in source
    assert '"redis.search"' in source


def test_contrib_describes_a_redis_connection_by_its_arguments() -> None:
    """By the host and port of a pool, or the path of a socket."""
    pool = redis.Redis.from_url("redis://shop:7000/3").connection_pool
    found = util._extract_conn_attributes(pool.connection_kwargs, *STABLE)  # type: ignore[no-untyped-call]
    assert found == {
        "db.system.name": "redis",
        "server.address": "shop",
        "server.port": 7000,
        "network.transport": "tcp",
    }
    by_path = util._extract_conn_attributes({"path": "/a.sock", "db": 0}, *STABLE)  # type: ignore[no-untyped-call]
    assert (by_path["server.address"], by_path["network.transport"]) == ("/a.sock", "unix")


@pytest.mark.parametrize(
    "options",
    [
        {"host": "shop", "port": 7000, "db": 3},
        {"host": "shop", "port": "7000", "db": None},
        {"host": "", "port": 0},
        {"host": "shop", "port": "none"},
        {"path": "/a.sock", "db": 0},
        {"path": ""},
        {},
    ],
)
def test_a_redis_connection_is_described_as_by_contrib(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without contrib in the stable conventions, and by contrib in the old ones."""
    for chosen in ("http,database", "database", "http/dup,database/dup", ""):
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", chosen)
        monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)
        spans = _Spans(None)
        by_contrib = util._extract_conn_attributes(options, *spans._modes)  # type: ignore[no-untyped-call]
        assert spans._describe(options) == by_contrib


def test_contribs_tracer_of_an_engine_has_the_replaced_methods() -> None:
    """Its listener, its counters, and the attributes that the listener reads."""
    assert parameters(EngineTracer._before_cur_exec)[1:6] == ["conn", "cursor", "statement", "params", "context"]
    assert parameters(EngineTracer._add_idle_to_connection_usage) == ["self", "value"]
    assert parameters(EngineTracer._add_used_to_connection_usage) == ["self", "value"]
    engine = create_engine("sqlite://")
    made = EngineTracer(None, engine, None)  # type: ignore[no-untyped-call]
    try:
        assert made._operation_name("shop", "/* a */ SELECT 1") == "SELECT shop"  # type: ignore[no-untyped-call]
        assert (made.vendor, made.enable_commenter, made.connections_usage) == ("sqlite", False, None)
        assert made._sem_conv_opt_in_mode_db in _StabilityMode
        assert made._sem_conv_opt_in_mode_http in _StabilityMode
    finally:
        EngineTracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]
        engine.dispose()


def test_contrib_registers_its_listeners_in_one_place() -> None:
    """`_register_event_listener`, a class method that also remembers them."""
    assert inspect.ismethod(EngineTracer._register_event_listener)
    assert parameters(EngineTracer._register_event_listener) == ["target", "identifier", "func", "args", "kw"]
    source = inspect.getsource(EngineTracer)
    assert (source.count(" listen("), source.count("self._register_event_listener(")) == (1, 7)
    assert "self._before_cur_exec, retval=True" in source


def test_contrib_describes_an_engine_by_its_url() -> None:
    """The result says whether the URL names a host; if not, contrib asks the connection."""
    described = contrib_sqlalchemy._get_attributes_from_url
    url = create_engine("postgresql+psycopg://me@shop:5432/db").url
    expected = {"server.address": "shop", "server.port": 5432, "db.namespace": "db"}
    assert described(url, *STABLE) == (expected, True)  # type: ignore[no-untyped-call]
    assert described(create_engine("sqlite://").url, *STABLE)[1] is False  # type: ignore[no-untyped-call]
    found: dict[str, Any] = {}
    _set_db_system(found, "sqlite", _StabilityMode.DATABASE)
    assert found == {"db.system.name": "sqlite"}
    assert parameters(contrib_sqlalchemy._get_db_name_from_cursor_or_conn) == ["vendor", "conn", "cursor"]
    assert parameters(contrib_sqlalchemy._get_attributes_from_cursor_or_conn)[:4] == [
        "vendor",
        "conn",
        "cursor",
        "attrs",
    ]


def test_contribs_listener_ends_the_span_that_stands_in_the_context() -> None:
    """In `_otel_span`: contrib's `_after_cur_exec` ends it, and so does `_handle_error`, with a status."""

    class Execution:
        def __init__(self) -> None:
            provider = TracerProvider(shutdown_on_exit=False)
            self._otel_span: Any = provider.get_tracer("test").start_span("SELECT")

    execution = Execution()
    contrib_sqlalchemy._after_cur_exec(None, None, None, None, execution, False)  # type: ignore[no-untyped-call]
    assert not execution._otel_span.is_recording()
    execution = Execution()
    failure = SimpleNamespace(execution_context=execution, original_exception=ValueError("no"))
    contrib_sqlalchemy._handle_error(failure)  # type: ignore[no-untyped-call]
    assert execution._otel_span.status.description == "no"
    assert not execution._otel_span.is_recording()


def test_contrib_marks_the_apps_that_it_traces() -> None:
    """With `_is_instrumented_by_opentelemetry`."""
    app: Any = FastAPI()
    contrib_fastapi.FastAPIInstrumentor.instrument_app(app)
    assert app._is_instrumented_by_opentelemetry is True
    contrib_fastapi.FastAPIInstrumentor.uninstrument_app(app)
    assert app._is_instrumented_by_opentelemetry is False


def test_a_module_that_is_being_imported_says_so() -> None:
    """`_initializing` of its `__spec__` is true until the import ends."""
    spec: Any = json.__spec__
    assert spec._initializing is False
    assert sys.modules[__name__] is not None
    source = inspect.getsource(importlib._bootstrap)
    assert "spec._initializing = True" in source


def test_three_keys_suppress_spans() -> None:
    """Contrib reads no other key before it creates a span."""
    assert is_enabled(get_current())
    assert is_http_enabled(get_current())
    with suppress_instrumentation():
        assert not is_enabled(get_current())
        assert not is_http_enabled(get_current())
    with suppress_http_instrumentation():
        assert is_enabled(get_current())
        assert not is_http_enabled(get_current())
    asked = inspect.getsource(is_instrumentation_enabled) + inspect.getsource(is_http_instrumentation_enabled)
    assert asked.count("get_value(") == len(span_scope._SUPPRESSING) == 3


def test_a_span_context_is_a_tuple_in_this_order() -> None:
    """Reading an item is cheaper than calling a property. The current span is in its context under `_SPAN_KEY`."""
    state = TraceState()
    context = SpanContext(1, 2, True, TraceFlags(3), state)
    assert tuple(context) == (1, 2, True, TraceFlags(3), state, True)
    span = NonRecordingSpan(context)
    assert set_span_in_context(span, Context()) == {_SPAN_KEY: span}


def test_the_global_meter_provider_has_this_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its public getter reads the environment at each call."""
    assert metrics_internal._METER_PROVIDER is None
    assert not isinstance(get_meter_provider(), MeterProvider)
    provider = MeterProvider(shutdown_on_exit=False)
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", provider)
    assert get_meter_provider() is provider


def scope_of(app: FastAPI, path: str, root_path: str = "") -> dict[str, Any]:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": root_path,
        "headers": [],
        "query_string": b"",
    }
    return {**scope, "app": app, "path_params": {}}


def test_flatten_routes_finds_the_routes_of_included_routers() -> None:
    """Each has its path with the router's prefix, and matches a scope without changing it."""
    app, router = FastAPI(), APIRouter(prefix="/v1")

    @router.get("/users/{user_id}")
    def user(user_id: int) -> int:
        return user_id

    app.include_router(router)
    scope = scope_of(app, "/v1/users/7")
    assert "/v1/users/{user_id}" in [getattr(route, "path", None) for route in _flatten_routes(app.routes)]
    assert find_route(app.routes, scope) == "/v1/users/{user_id}"
    assert find_route(app.routes, scope_of(app, "/api/v1/users/7", root_path="/api")) == "/v1/users/{user_id}"
    assert find_route(app.routes, scope_of(app, "/nowhere")) is None
    assert scope == scope_of(app, "/v1/users/7")


def recording() -> tuple[Any, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), exporter


def test_wrap_connect_makes_a_span_of_a_checkout() -> None:
    """`_wrap_connect` returns a wrapt wrapper for `Engine.connect`."""
    tracer, exporter = recording()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    wrapper = _wrap_connect(tracer)  # type: ignore[no-untyped-call]  # contrib has no types
    wrapper(engine.connect, engine, (), {}).close()
    engine.dispose()
    assert [span.name for span in exporter.get_finished_spans()] == ["connect"]


def test_contrib_keeps_a_statements_span_on_its_context() -> None:
    """`_otel_span` is set and recording when listeners of the class `Engine` run."""
    tracer, exporter = recording()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    EngineTracer(tracer, engine, metrics.get_meter("test").create_up_down_counter("usage"))  # type: ignore[no-untyped-call]
    seen: list[tuple[str, bool]] = []

    def look(_1: Any, _2: Any, _3: Any, _4: Any, context: Any, _6: Any) -> None:
        seen.append((context._otel_span.name, context._otel_span.is_recording()))

    event.listen(Engine, "after_cursor_execute", look)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    finally:
        event.remove(Engine, "after_cursor_execute", look)
        EngineTracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]
        engine.dispose()
    assert [recorded for _, recorded in seen] == [True]
    assert [span.name for span in exporter.get_finished_spans()] == [name for name, _ in seen]


def test_sqlalchemy_marks_what_somebody_listens_to() -> None:
    """`_has_events` of an engine or of its dialect, depending on the event."""
    engine, other = create_engine("sqlite://"), create_engine("sqlite://")
    event.listen(engine, "before_cursor_execute", lambda *_: None)
    event.listen(other, "do_execute", lambda *_: None)
    marks = [(each._has_events, each.dialect._has_events) for each in (engine, other, create_engine("sqlite://"))]
    assert marks[0] == (True, False)
    assert marks[1][1] is True
    assert marks[2][1] is False


def test_sqlalchemy_prepares_a_dialect_on_a_connection_that_begins_nothing() -> None:
    """Its `_allow_autobegin` is false, and nobody hears of its events."""
    engine = create_engine("sqlite://")
    seen: list[Any] = []
    initialize = engine.dialect.initialize

    def initialize_and_look(connection: Connection) -> None:
        seen.append(connection)
        connection.exec_driver_sql("SELECT 1")
        initialize(connection)

    event.listen(engine, "before_cursor_execute", lambda *_: seen.append("event"))
    engine.dialect.initialize = initialize_and_look  # type: ignore[method-assign]
    with engine.connect() as connection:
        assert connection._allow_autobegin
        assert len(seen) == 1
        assert not seen[0]._allow_autobegin
    engine.dispose()


def test_a_task_knows_whether_its_exception_was_retrieved() -> None:
    """`_log_traceback` is true until the exception is retrieved; reading `_exception` does not retrieve it."""

    async def fail() -> None:
        raise ValueError("no")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        assert task._log_traceback is True
        assert isinstance(task._exception, ValueError)
        assert task._log_traceback is True
        task.exception()
        assert task._log_traceback is False

    asyncio.run(main())
