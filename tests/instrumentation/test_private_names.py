"""Every private name of another package that `brain_otel/instrumentation` uses, and what happens without it.

Not in the table: the packages `opentelemetry._logs` and `opentelemetry.sdk._logs`, the documented API for logs.
"""

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.private_names import PrivateName, private_names, run_renamed
from tests.support.private_uses import private_uses
from tests.support.process import run_python
from tests.support.tiers import quick_first

ROOM = "brain_otel/instrumentation"
PINS = "tests/instrumentation/test_pins.py"
FAST_SPANS = "tests/instrumentation/test_fast_span.py::test_a_span_is_what_the_sdk_would_have_made"
GRPC_CALLS = "tests/instrumentation/others/test_grpc_calls.py"
MODEL_STREAMS = "tests/instrumentation/others/test_model_streams.py"
RESTRICTED = "tests/instrumentation/others/test_restricted.py"
SECRET = "hunter2-4Zq"


def _names(owner: str, names: str, used_in: str, purpose: str, pinned_by: str) -> tuple[PrivateName, ...]:
    files = " ".join(f"instrumentation/{file}" for file in used_in.split())
    return private_names(owner, names, files, purpose, pinned_by)


SPANS = (
    *_names(
        "opentelemetry.sdk.trace",
        "_Span",
        "fast_span.py",
        "compares the fields of the tracer's spans with those that the fast path writes",
        "tests/instrumentation/test_fast_span.py::test_an_sdk_whose_spans_have_another_field_creates_them_itself",
    ),
    *_names(
        "opentelemetry.sdk.trace.ReadableSpan",
        "_name _context _kind _instrumentation_info _instrumentation_scope _parent _start_time _end_time _attributes "
        "_events _links _resource _status",
        "fast_span.py",
        "creates a span without the tracer, and reads it without the constructor",
        FAST_SPANS,
    ),
    *_names(
        "opentelemetry.sdk.trace.Span",
        "_sampler _trace_config _record_exception _set_status_on_exception _span_processor _limits _lock "
        "_record_end_metrics _add_event _add_link _readable_span",
        "fast_span.py",
        "creates a span without the tracer, whose lists are created with their first item",
        FAST_SPANS,
    ),
    *_names(
        "opentelemetry.sdk.trace.Tracer",
        "_span_limits _tracer_config _tracer_metrics",
        "fast_span.py",
        "creates a span as the tracer would",
        FAST_SPANS,
    ),
    *_names(
        "opentelemetry.attributes.BoundedAttributes",
        "_dict _immutable",
        "fast_span.py",
        "puts attributes on a span without checking each",
        FAST_SPANS,
    ),
)

CONTEXT = (
    *_names(
        "opentelemetry.context",
        "_SUPPRESS_INSTRUMENTATION_KEY _SUPPRESS_HTTP_INSTRUMENTATION_KEY",
        "span_scope.py",
        "looks up all keys that suppress spans at once",
        f"{PINS}::test_three_keys_suppress_spans",
    ),
    *_names(
        "opentelemetry.instrumentation.utils",
        "_SUPPRESS_INSTRUMENTATION_KEY_PLAIN",
        "span_scope.py",
        "looks up all keys that suppress spans at once",
        f"{PINS}::test_three_keys_suppress_spans",
    ),
    *_names(
        "opentelemetry.trace.propagation",
        "_SPAN_KEY",
        "fast_span.py span_scope.py",
        "reads the current span from a context that the caller has read already",
        f"{PINS}::test_a_span_context_is_a_tuple_in_this_order",
    ),
)

CONVENTIONS = (
    *_names(
        "opentelemetry.instrumentation",
        "_semconv",
        "fastapi/server_span.py httpx/client_span.py redis/command_span.py sqlalchemy/statement_span.py",
        "leaves spans with the old semantic conventions to contrib",
        f"{PINS}::test_contrib_distinguishes_stable_and_old_conventions",
    ),
    *_names(
        "opentelemetry.instrumentation._semconv",
        "_StabilityMode",
        "fastapi/server_span.py httpx/client_span.py redis/command_span.py sqlalchemy/statement_span.py",
        "leaves spans with the old semantic conventions to contrib",
        f"{PINS}::test_contrib_distinguishes_stable_and_old_conventions",
    ),
)

FASTAPI = (
    *_names(
        "opentelemetry.instrumentation._semconv",
        "_report_old",
        "fastapi/server_span.py",
        "leaves spans with the old semantic conventions to contrib",
        f"{PINS}::test_contrib_distinguishes_stable_and_old_conventions",
    ),
    *_names(
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware",
        "_sem_conv_opt_in_mode",
        "fastapi/server_span.py",
        "leaves spans with the old semantic conventions to contrib",
        f"{PINS}::test_contribs_middleware_keeps_its_options",
    ),
    *_names(
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware",
        "_get_otel_send _set_server_span",
        "fastapi/server_span.py",
        "names metrics and WebSockets by their route, and gives WebSockets the status of their handshake",
        "tests/service/test_registry.py::test_a_websocket_is_described_by_its_handshake",
    ),
    *_names(
        "opentelemetry.instrumentation.asgi",
        "_collect_target_attribute",
        "fastapi/attributes.py",
        "gives the metrics of the old conventions the whole route",
        "tests/service/test_registry.py::test_spans_and_metrics_have_the_whole_route",
    ),
    *_names(
        "opentelemetry.instrumentation.fastapi",
        "_is_instrumented_by_opentelemetry",
        "fastapi/original_build.py",
        "leaves an app alone that the application has instrumented",
        f"{PINS}::test_contrib_marks_the_apps_that_it_traces",
    ),
    *_names(
        "opentelemetry.instrumentation.fastapi",
        "_original_build_middleware_stack _otel_original_call",
        "fastapi/original_build.py",
        "removes contrib from an app, and only what it has added for us",
        "tests/instrumentation/fastapi/test_instrumentor.py::test_apps_are_left_as_they_were_found",
    ),
    *_names(
        "opentelemetry.instrumentation.fastapi",
        "_flatten_routes",
        "fastapi/routes.py",
        "finds the routes of included routers in every version of FastAPI",
        f"{PINS}::test_flatten_routes_finds_the_routes_of_included_routers",
    ),
    *_names(
        "fastapi.telemetry",
        "_asgi",
        "fastapi/shielding.py",
        "shields the application from FastAPI's own telemetry",
        "tests/service/test_hostile_requests.py"
        "::test_a_hostile_request_gets_the_answer_that_it_gets_without_telemetry",
    ),
    *_names(
        "opentelemetry.util.http.ExcludeList",
        "_excluded_urls",
        "fastapi/server_span.py httpx/client_span.py",
        "tells whether any URL is excluded, before it assembles the URL",
        f"{PINS}::test_an_exclude_list_keeps_its_expressions",
    ),
    *_names(
        "opentelemetry.propagators.composite.CompositePropagator",
        "_propagators",
        "propagation.py",
        "guards each propagator of the configuration, and tells which headers are read",
        f"{PINS}::test_a_composite_propagator_keeps_its_parts",
    ),
)

HTTPX = (
    *_names(
        "opentelemetry.instrumentation.httpx.HTTPXClientInstrumentor",
        "_handle_request_wrapper _handle_async_request_wrapper",
        "httpx/client_span.py httpx/instrumentor.py",
        "replaces contrib's wrappers, and shields the application from them",
        f"{PINS}::test_contribs_wrappers_of_httpx_have_these_parameters",
    ),
    *_names(
        "opentelemetry.instrumentation.httpx",
        "_apply_request_client_attributes_to_span",
        "httpx/instrumentor.py",
        "gives requests the default port of their server",
        "tests/instrumentation/httpx/test_instrumentor.py::test_a_default_port_is_the_servers_port",
    ),
    *_names(
        "opentelemetry.metrics",
        "_internal",
        "httpx/client_span.py",
        "tells whether metrics are read, without reading the environment at each request",
        f"{PINS}::test_the_global_meter_provider_has_this_name",
    ),
    *_names(
        "opentelemetry.metrics._internal",
        "_METER_PROVIDER",
        "httpx/client_span.py",
        "tells whether metrics are read, without reading the environment at each request",
        f"{PINS}::test_the_global_meter_provider_has_this_name",
    ),
)

REDIS = (
    *_names(
        "opentelemetry.instrumentation._semconv",
        "_get_semconv_opt_in_modes _OpenTelemetryStabilitySignalType",
        "redis/command_span.py",
        "leaves spans with the old semantic conventions to contrib",
        f"{PINS}::test_contrib_distinguishes_stable_and_old_conventions",
    ),
    *_names(
        "opentelemetry.instrumentation.redis",
        "_traced_execute_factory _async_traced_execute_factory",
        "redis/command_span.py redis/instrumentor.py",
        "replaces the functions that trace a command, and shields the application from them",
        f"{PINS}::test_contribs_factories_for_redis_have_these_parameters",
    ),
    *_names(
        "opentelemetry.instrumentation.redis",
        "_traced_execute_pipeline_factory _async_traced_execute_pipeline_factory",
        "redis/command_span.py redis/instrumentor.py",
        "replaces the functions that trace a pipeline, and shields the application from them",
        f"{PINS}::test_contribs_factories_for_redis_have_these_parameters",
    ),
    *_names(
        "opentelemetry.instrumentation.redis",
        "_format_command_args _build_span_name",
        "redis/instrumentor.py",
        "keeps values out of a command's name and text",
        f"{PINS}::test_contribs_factories_for_redis_have_these_parameters",
    ),
    *_names(
        "opentelemetry.instrumentation.redis",
        "_build_span_meta_data_for_pipeline",
        "redis/instrumentor.py redis/pipelines.py",
        "tells what a pipeline sends, without its values",
        "tests/instrumentation/redis/test_instrumentor.py::test_values_are_not_sent",
    ),
    *_names(
        "opentelemetry.instrumentation.redis",
        "_add_search_attributes",
        "redis/instrumentor.py",
        "keeps values out of the spans of searches",
        "tests/instrumentation/redis/test_instrumentor.py::test_values_are_not_sent",
    ),
    *_names(
        "opentelemetry.instrumentation.redis.util",
        "_extract_conn_attributes",
        "redis/command_span.py",
        "describes a connection as contrib does, once for each pool",
        f"{PINS}::test_contrib_describes_a_redis_connection_by_its_arguments",
    ),
)

CLUSTER = _names(
    "redis.cluster.ClusterPipeline",
    "_execution_strategy",
    "redis/pipelines.py",
    "tells whether a cluster's pipeline is a transaction",
    "tests/instrumentation/redis/test_pipelines.py::test_a_clusters_transaction_is_told_by_its_strategy",
)

SQLALCHEMY = (
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_set_db_system",
        "sqlalchemy/statement_span.py sqlalchemy/corrections.py",
        "describes a statement as contrib does, and corrects the system's name",
        f"{PINS}::test_contrib_describes_an_engine_by_its_url",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_set_db_operation",
        "sqlalchemy/corrections.py",
        "names the operation of a statement without its database",
        f"{PINS}::test_contrib_describes_an_engine_by_its_url",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_get_attributes_from_url _get_db_name_from_cursor_or_conn",
        "sqlalchemy/statement_span.py",
        "describes a statement as contrib does",
        f"{PINS}::test_contrib_describes_an_engine_by_its_url",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_get_attributes_from_cursor_or_conn",
        "sqlalchemy/statement_span.py sqlalchemy/corrections.py",
        "describes a connection as contrib does, and corrects the transport",
        f"{PINS}::test_contrib_describes_an_engine_by_its_url",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine.EngineTracer",
        "_operation_name",
        "sqlalchemy/corrections.py",
        "names a span by its operation, after comments",
        f"{PINS}::test_contribs_tracer_of_an_engine_has_the_replaced_methods",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine.EngineTracer",
        "_sem_conv_opt_in_mode_db _sem_conv_opt_in_mode_http",
        "sqlalchemy/statement_span.py",
        "describes a statement as contrib does",
        f"{PINS}::test_contribs_tracer_of_an_engine_has_the_replaced_methods",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine.EngineTracer",
        "_before_cur_exec",
        "sqlalchemy/statement_span.py sqlalchemy/corrections.py sqlalchemy/driver_calls.py",
        "replaces contrib's listener, and describes batches",
        f"{PINS}::test_contribs_tracer_of_an_engine_has_the_replaced_methods",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine.EngineTracer",
        "_add_idle_to_connection_usage _add_used_to_connection_usage",
        "sqlalchemy/statement_span.py",
        "replaces contrib's listener, and its counters if nobody reads them",
        f"{PINS}::test_contribs_tracer_of_an_engine_has_the_replaced_methods",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_after_cur_exec",
        "sqlalchemy/statement_span.py sqlalchemy/driver_calls.py",
        "looks whether contrib ends the span that stands in the context, and ends it so",
        f"{PINS}::test_contribs_listener_ends_the_span_that_stands_in_the_context",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_otel_span",
        "sqlalchemy/instrumentor.py sqlalchemy/statement_span.py sqlalchemy/corrections.py "
        "sqlalchemy/driver_calls.py",
        "keeps a statement's span where contrib ends it",
        f"{PINS}::test_contribs_listener_ends_the_span_that_stands_in_the_context",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_handle_error",
        "sqlalchemy/instrumentor.py sqlalchemy/driver_calls.py",
        "ends the span of a failed statement, and guards contrib's `str()` of the application's exception",
        f"{PINS}::test_contribs_listener_ends_the_span_that_stands_in_the_context",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine.EngineTracer",
        "_register_event_listener",
        "sqlalchemy/instrumentor.py sqlalchemy/driver_calls.py",
        "guards contrib's listeners, whose failure would be the statement's, and does without them",
        f"{PINS}::test_contrib_registers_its_listeners_in_one_place",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine.EngineTracer",
        "_remove_event_listener_params",
        "sqlalchemy/instrumentor.py",
        "forgets contrib's listeners that somebody has removed, at which contrib raises",
        "tests/test_testing.py::test_a_listener_that_somebody_has_removed_is_no_error_at_the_end",
    ),
    *_names(
        "opentelemetry.instrumentation.sqlalchemy.engine",
        "_wrap_connect",
        "sqlalchemy/instrumentor.py",
        "creates the spans of checkouts; the public function would trace statements twice",
        f"{PINS}::test_wrap_connect_makes_a_span_of_a_checkout",
    ),
)

SQLALCHEMY_ITSELF = (
    *_names(
        "sqlalchemy.engine.base.Engine",
        "_has_events",
        "sqlalchemy/driver_calls.py",
        "knows at little cost that nobody listens to an engine",
        f"{PINS}::test_sqlalchemy_marks_what_somebody_listens_to",
    ),
    *_names(
        "sqlalchemy.engine.base.Connection",
        "_allow_autobegin",
        "sqlalchemy/driver_calls.py",
        "leaves out the statements with which SQLAlchemy prepares a dialect, as contrib does",
        f"{PINS}::test_sqlalchemy_prepares_a_dialect_on_a_connection_that_begins_nothing",
    ),
)
"""Renamed by the test of the driver's calls, in an interpreter of its own: SQLAlchemy is imported as a whole."""

STANDARD_LIBRARY = (
    *_names(
        "asyncio.futures.Future",
        "_exception _log_traceback",
        "asyncio.py",
        "reads a task's exception without marking it as retrieved",
        f"{PINS}::test_a_task_knows_whether_its_exception_was_retrieved",
    ),
    *_names(
        "threading.Thread",
        "_bootstrap_inner _invoke_excepthook _target",
        "threading.py",
        "carries the context also into subclasses that override `run()`, and reports what ends a thread",
        "tests/instrumentation/test_threading.py::test_threads_behave_as_without_us",
    ),
)
"""C code and frozen modules define these, so no test renames them; of ``threading`` one removes one."""

OTHERS = (
    *_names(
        "anthropic",
        "_base_client",
        "others/layers.py",
        "keeps the client from making a second span of a call that contrib's instrumentation sees",
        "tests/instrumentation/others/test_llm_apis.py::test_a_call_is_one_span_in_the_words_of_sentry",
    ),
    *_names(
        "httpx2.Client",
        "_send_single_request",
        "others/restricted.py",
        "takes trace headers out of the request after a redirect, before any instrumentation of the transport",
        f"{RESTRICTED}::test_a_request_to_a_target_has_them",
    ),
    *_names(
        "grpc.aio",
        "_channel",
        "others/grpc_servers.py",
        "learns the target of an asynchronous channel, which gets its interceptors as arguments",
        f"{RESTRICTED}::test_a_call_of_a_target_has_them",
    ),
    *_names(
        "grpc._channel.Channel",
        "_channel",
        "others/grpc_servers.py",
        "learns the target of a channel",
        f"{RESTRICTED}::test_a_call_of_a_target_has_them",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._client.OpenTelemetryClientInterceptor",
        "_tracer",
        "others/grpc_servers.py",
        "has a channel's spans name its server; without it, no call has trace headers where targets are restricted",
        "tests/instrumentation/others/test_grpc_servers.py::test_the_spans_of_a_channel_name_its_server",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc",
        "_aio_client _aio_server _client _server",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._client.OpenTelemetryClientInterceptor",
        "_intercept _intercept_server_stream _start_span",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._server.OpenTelemetryServerInterceptor",
        "_start_span",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._aio_client",
        "_BaseAioClientInterceptor",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._aio_client._BaseAioClientInterceptor",
        "_wrap_unary_response",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._aio_server",
        "_OpenTelemetryAioServicerContext",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._server",
        "_OpenTelemetryServicerContext",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *_names(
        "opentelemetry.instrumentation.grpc._server._OpenTelemetryServicerContext",
        "_servicer_context",
        "others/grpc_calls.py",
        "shields the calls of clients and servers from what looks at them",
        f"{GRPC_CALLS}::test_contrib_has_what_is_shielded",
    ),
    *(
        each
        for kind in ("SyncStreamWrapper", "AsyncStreamWrapper")
        for each in _names(
            f"opentelemetry.util.genai.stream.{kind}",
            "_advance",
            "others/model_streams.py",
            "shields a model's stream from what looks at its chunks",
            f"{MODEL_STREAMS}::test_contrib_reads_a_stream_through_this_method",
        )
    ),
    *_names(
        "opentelemetry.instrumentation.genai.anthropic._raw_response.RawResponseProxy",
        "_fail",
        "others/model_streams.py",
        "ends a call whose raw response the application has left without an error",
        f"{MODEL_STREAMS}::test_contrib_has_what_is_replaced",
    ),
    *_names(
        "opentelemetry.instrumentation.genai.anthropic",
        "_raw_response",
        "others/shielding.py",
        "names the module of the proxy around a raw response",
        f"{MODEL_STREAMS}::test_contrib_has_what_is_replaced",
    ),
    *_names(
        "opentelemetry.instrumentation.genai.openai.patch",
        "_set_response_properties",
        "others/model_streams.py",
        "keeps contrib from an answer that it would have to await",
        f"{MODEL_STREAMS}::test_contrib_has_what_is_replaced",
    ),
)
"""Used for instrumentors of others, and where targets are restricted, alone."""

GROUPS = {
    "spans": SPANS,
    "context": CONTEXT,
    "conventions": CONVENTIONS,
    "fastapi": FASTAPI,
    "httpx": HTTPX,
    "redis": REDIS,
    "sqlalchemy": SQLALCHEMY,
}

RENAMED = tuple(each for group in GROUPS.values() for each in group)

PRIVATE_NAMES = (*RENAMED, *CLUSTER, *OTHERS, *SQLALCHEMY_ITSELF, *STANDARD_LIBRARY)

NOT_UPSTREAM = {"_load", "_OTHER", "_brain_otel_adds_ids", "_brain_otel_started", "_logs", "_task_id"} | {
    *("_getframe", "_queue_name", "_retries")
}
"""The name of a logger, a value of the semantic conventions, names of our own, a documented package, and what Python,
arq and taskiq document: a function, an argument of `enqueue_job` and the label of retried tasks."""

Json = Any


@cache
def outcome(names: tuple[PrivateName, ...] = (), fast_paths: str = "true") -> tuple[str, Json, Json, str]:
    """What the application saw, the spans by transaction and operation, the errors, and the log."""
    app = ROOT / "tests" / "apps" / "instrumented.py"
    code = run_renamed(names, f"import runpy; runpy.run_path({str(app)!r}, run_name='__main__')")
    with SentryIngest() as ingest:
        env = {
            "SENTRY_DSN": ingest.dsn,
            "SENTRY_ENVIRONMENT": "production",
            "SENTRY_TRACES_SAMPLE_RATE": "1",
            "SENTRY_PROFILES_SAMPLE_RATE": "0",
            "BRAIN_OTEL_FAST_PATHS": fast_paths,
            "SECRET": SECRET,
        }
        done = run_python(code, env, 60, pythonpath=[ROOT])
        assert done.returncode == 0, done.stderr
        transactions, events = ingest.transactions, ingest.events
    assert SECRET not in json.dumps([transactions, events])
    spans = Counter((each["transaction"], span["op"]) for each in transactions for span in each["spans"])
    roots = Counter((each["transaction"], each["contexts"]["trace"]["op"]) for each in transactions)
    errors = Counter((each["transaction"], _kind(each)) for each in events)
    return done.stdout, roots + spans, errors, done.stderr


def _kind(event: Json) -> str:
    values = (event.get("exception") or {}).get("values") or [{}]
    return str(values[-1].get("type") or event["logentry"]["message"])


def check(names: tuple[PrivateName, ...]) -> None:
    """Compare a run without ``names`` with one that has them."""
    expected, found = outcome(), outcome(names)
    assert found[0] == expected[0]
    if any(each.identifier == "_get_route_details" for each in names):  # a mounted app's routes have no names then
        assert (found[1].total(), found[2]) == (expected[1].total(), expected[2])
    else:
        assert found[1:3] == expected[1:3]
    failures = [line.partition(";")[0] for line in found[3].splitlines() if "brain_otel failed" in line]
    assert len(failures) == len(set(failures))


def test_the_application_uses_everything() -> None:
    """Two of three requests are sampled; every one of three is answered, and its failure reported."""
    seen, spans, errors, log = outcome()
    assert [each[1] for each in json.loads(seen)[::3]] == [200] * 7 + [
        f"ValueError('password={SECRET}', 7)",
        203,
        404,
    ]
    assert spans["GET /redis/{number}", "db.redis"] == 12
    assert spans["GET /sql/{number}", "db"] == 4
    assert spans["GET /http/{number}", "http.client"] == 8
    assert spans["GET /mounted/items/{number}", "http.server"] == 2
    assert spans["GET /healthz", "http.server"] == 0
    assert errors == {
        ("GET /task", "LookupError"): 3,
        ("GET /logged", "password=%s"): 3,
        ("GET /fails/{number}", "ValueError"): 3,
    }
    assert "brain_otel failed" not in log


@pytest.mark.parametrize("group", quick_first(GROUPS))
def test_nothing_is_lost_without_a_group_of_names(group: str) -> None:
    """The application sees the same, every span and error arrives, nothing leaves unmasked."""
    check(GROUPS[group])


@pytest.mark.thorough
@pytest.mark.parametrize("each", RENAMED, ids=lambda each: each.name)
def test_nothing_is_lost_without_a_name(each: PrivateName) -> None:
    """The same for each name alone."""
    check((each,))


def test_nothing_is_lost_with_the_fast_paths_off() -> None:
    """Contrib's instrumentations create the same spans."""
    assert outcome(fast_paths="false") == outcome()


def test_the_table_has_every_name() -> None:
    """Found in the source: attributes, imports and texts that begin with an underscore and are not our own."""
    found = private_uses((ROOT / ROOM).rglob("*.py")).keys() - NOT_UPSTREAM
    assert found <= {each.identifier for each in PRIVATE_NAMES}
