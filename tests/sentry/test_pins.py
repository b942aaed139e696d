"""Pins: each private name of another package that brain_otel uses, and what it must go on to mean."""

import asyncio
import inspect
import uuid
from pathlib import Path
from typing import Any

import sentry_sdk
import yaml
from fastapi import APIRouter, FastAPI
from opentelemetry import metrics
from opentelemetry.configuration.file._loader import _dict_to_model, load_config_file
from opentelemetry.instrumentation.fastapi import _get_route_details
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer, _wrap_connect
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.client import SDK_INFO, _Client
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.scope import Scope, _current_scope, _isolation_scope, use_isolation_scope
from sentry_sdk.serializer import serialize
from sentry_sdk.session import Session
from sentry_sdk.sessions import SessionFlusher
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


TAKEN = {
    "user": ("_user", {"id": "7"}),
    "tags": ("_tags", {"a": "b"}),
    "contexts": ("_contexts", {"a": {"b": 1}}),
    "extra": ("_extras", {"a": 1}),
}
SENT_ALONG = {"_level": "level", "_fingerprint": "fingerprint"}
NOT_OF_A_TRANSACTION = {
    "_breadcrumbs",
    "_flags",
    "_error_processors",
    "_span",
    "_server_segment_span",
    "_session",
    "_force_auto_session_tracking",
    "_profile",
    "_propagation_context",
    "client",
    "_type",
    "_last_event_id",
    "_attributes",
    "_name",
    "_gen_ai_conversation_id",
}
ONLY_WHERE_THE_EVENT_HAS_NONE = {"_transaction", "_transaction_info"}
LOOKED_AT = {
    "_attachments",
    "_n_breadcrumbs_truncated",
    "_gen_ai_original_message_count",
    "_should_capture",
    "_event_processors",
}


def test_every_field_of_a_scope_is_known() -> None:
    """A new one may be something that belongs to a transaction, which the short way would lose."""
    known = {field for field, _ in TAKEN.values()} | SENT_ALONG.keys() | LOOKED_AT
    assert set(Scope.__slots__) == known | NOT_OF_A_TRANSACTION | ONLY_WHERE_THE_EVENT_HAS_NONE


def test_a_scope_puts_its_fields_on_a_transaction() -> None:
    """User, tags, contexts and extra as they are, a level and a fingerprint; nothing else of its own."""
    scope = Scope()
    scope.add_breadcrumb({"message": "not of a transaction"})
    for field, value in TAKEN.values():
        setattr(scope, field, value)
    scope._level, scope._fingerprint = "warning", ["a"]
    given: Any = {"type": "transaction", "contexts": {"trace": {}}, "transaction": "GET /", "transaction_info": {}}
    event: Any = scope.apply_to_event(given, {}, {})
    assert event.pop("contexts") == {"trace": {}, "a": {"b": 1}}
    expected = {name: value for name, (_, value) in TAKEN.items() if name != "contexts"}
    assert event == {
        "type": "transaction",
        "transaction": "GET /",
        "transaction_info": {},
        "level": "warning",
        "fingerprint": ["a"],
        **expected,
    }


def test_a_scope_that_is_plain_is_so_by_its_fields() -> None:
    """Each that the short way looks at is false in a new scope, and true once it is used."""
    scope = Scope()
    assert not any(getattr(scope, name) for name in LOOKED_AT - {"_should_capture"})
    assert scope._should_capture is True
    scope.add_attachment(b"a", "a.txt")
    scope.add_event_processor(lambda event, _: event)
    scope.set_level("warning")
    assert scope._attachments
    assert len(scope._event_processors) == 1
    assert scope._level == "warning"
    for number in range(200):
        scope.add_breadcrumb({"message": str(number)})
    assert isinstance(scope._n_breadcrumbs_truncated, int)


def test_what_is_current_is_kept_in_two_context_variables() -> None:
    """Which `use_isolation_scope()` sets, and the functions that give a scope read."""
    current, isolation = Scope(), Scope()
    tokens = _current_scope.set(current), _isolation_scope.set(isolation)
    try:
        assert sentry_sdk.get_current_scope() is current
        assert sentry_sdk.get_isolation_scope() is isolation
    finally:
        _current_scope.reset(tokens[0])
        _isolation_scope.reset(tokens[1])
    with use_isolation_scope(isolation):
        assert _isolation_scope.get() is isolation


def test_a_session_is_kept_on_its_scope() -> None:
    """And told when it is ended, of which only the minute and how it ended count."""
    scope = Scope()
    session = Session(release="shop@1", environment="test", session_mode="request", sid=uuid.UUID(int=0))
    scope._session = session
    assert session.sid == uuid.UUID(int=0)
    session.close()
    assert session.status == "exited"
    assert "capture_session" in inspect.getsource(Scope.end_session)


def test_sessions_are_counted_by_what_is_known_of_them() -> None:
    """In a dictionary that is replaced when they are told, under a lock."""
    source = inspect.getsource(SessionFlusher)
    assert "with self._aggregate_lock:" in source
    assert "primary_key = tuple(sorted(attrs.items()))" in source
    assert "secondary_key = session.truncated_started" in source
    assert 'state["exited"] = state.get("exited", 0) + 1' in source
    assert "self.pending_aggregates = {}" in source


def test_an_events_static_part_is_known() -> None:
    """What sentry-sdk says of itself, and the options that it puts on each event."""
    assert SDK_INFO.keys() == {"name", "version", "packages"}
    source = inspect.getsource(_Client._prepare_event)
    assert '"release", "environment", "server_name", "dist"' in source
    assert "keep_request_bodies" in inspect.getsource(serialize)
    assert parameters_of(serialize) == ["event", "kwargs"]


def test_modules_and_dedupe_leave_transactions_alone() -> None:
    """Their processors look at errors only, so a transaction need not pass them."""
    for setup_once in (ModulesIntegration.setup_once, DedupeIntegration.setup_once):
        source = inspect.getsource(setup_once)
        assert 'event.get("type") == "transaction"' in source or 'hint.get("exc_info"' in source


def parameters_of(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)
