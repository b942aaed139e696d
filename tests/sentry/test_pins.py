"""Pins: each private name of another package that brain_otel uses, and what it must go on to mean."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import yaml
from fastapi import APIRouter, FastAPI
from opentelemetry import metrics
from opentelemetry.configuration.file._loader import _dict_to_model, load_config_file
from opentelemetry.instrumentation.fastapi import _get_route_details
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer, _wrap_connect
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.transport import BaseHttpTransport, HttpTransport
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool

CONFIGURATION = """
file_format: "1.1"
disabled: false
resource: {attributes: [{name: service.name, value: shop}]}
propagator: {composite: [{tracecontext: }, {baggage: }]}
tracer_provider:
  processors: [{batch: {exporter: {otlp_http: {endpoint: "http://127.0.0.1:1"}}}}]
  sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: 0.5}}}}
"""


def test_dict_to_model_is_what_the_public_loader_does(tmp_path: Path) -> None:
    """`_dict_to_model` makes of a parsed file what `load_config_file` makes of the file."""
    path = tmp_path / "given.yaml"
    path.write_text(CONFIGURATION)
    assert _dict_to_model(yaml.safe_load(CONFIGURATION)) == load_config_file(str(path))


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


def test_get_route_details_finds_the_template() -> None:
    """`_get_route_details` reads `app`, `path`, `method` and `root_path` of the scope, and changes nothing."""
    app, router = FastAPI(), APIRouter(prefix="/v1")

    @router.get("/users/{user_id}")
    def user(user_id: int) -> int:
        return user_id

    app.include_router(router)
    scope = scope_of(app, "/v1/users/7")
    assert _get_route_details(scope) == "/v1/users/{user_id}"
    assert _get_route_details(scope_of(app, "/api/v1/users/7", root_path="/api")) == "/v1/users/{user_id}"
    assert _get_route_details(scope_of(app, "/nowhere")) is None
    assert scope == scope_of(app, "/v1/users/7")


def recording() -> tuple[Any, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), exporter


def test_wrap_connect_makes_a_span_of_a_checkout() -> None:
    """`_wrap_connect` gives a wrapt wrapper for `Engine.connect`."""
    tracer, exporter = recording()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    wrapper = _wrap_connect(tracer)  # type: ignore[no-untyped-call]  # contrib has no types
    wrapper(engine.connect, engine, (), {}).close()
    engine.dispose()
    assert [span.name for span in exporter.get_finished_spans()] == ["connect"]


def test_contrib_keeps_a_statements_span_on_its_context() -> None:
    """`_otel_span` is there and open when listeners of the class `Engine` run."""
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


def test_a_task_says_whether_its_exception_was_retrieved() -> None:
    """`_log_traceback` is true until somebody asks for the exception, which `_exception` is, without asking."""

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


def test_every_request_of_sentrys_transport_goes_through_one_method() -> None:
    """`_request` is the only user of the connection pool."""
    assert "self._request(" in inspect.getsource(BaseHttpTransport._send_request)
    users = [
        name
        for kind in HttpTransport.__mro__[:-1]
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and "_pool.request" in inspect.getsource(method)
    ]
    assert users == ["_request"]
