"""Makes calls over HTTP, Redis and SQL and prints their spans.

WAY=fast traces them on the fast paths, WAY=contrib without. VALKEY, POSTGRES and TARGET are
the addresses of the servers. ONLY_HTTPX leaves out Redis and SQL.
"""

import asyncio
import contextlib
import functools
import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import redis
import redis.asyncio
from opentelemetry import metrics
from opentelemetry import trace as otel_trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.exception_recording import patch_exception_recording
from brain_otel.instrumentation.httpx.instrumentor import HttpxInstrumentation
from brain_otel.instrumentation.redis.instrumentor import RedisInstrumentation
from brain_otel.instrumentation.sqlalchemy.instrumentor import SQLAlchemyInstrumentation
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.runtime.patch import Patches
from brain_otel.sampling.head import HeadSampler

Json = dict[str, Any]
FAST = os.environ["WAY"] == "fast"
TARGET = os.environ["TARGET"]
VALKEY, POSTGRES = os.environ["VALKEY"], os.environ["POSTGRES"]

exporter = InMemorySpanExporter()
provider = TracerProvider(sampler=HeadSampler(ParentBased(ALWAYS_ON)), shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
otel_trace.set_tracer_provider(provider)
tracer = provider.get_tracer("test")
our_sqlalchemy = SQLAlchemyInstrumentation()
found: dict[str, list[Json]] = {}
seen: Json = {}


def described(span: ReadableSpan, names: dict[int, str]) -> Json:
    events = [
        [each.name, {key: value for key, value in (each.attributes or {}).items() if key != "exception.stacktrace"}]
        for each in span.events
    ]
    return {
        "name": span.name,
        "kind": span.kind.name,
        "attributes": dict(sorted((span.attributes or {}).items())),
        "status": [span.status.status_code.name, span.status.description],
        "events": events,
        "parent": names.get(span.parent.span_id) if span.parent else None,
        "scope": span.instrumentation_scope and span.instrumentation_scope.name,
    }


@contextlib.contextmanager
def case(name: str) -> Iterator[None]:
    """Record the spans and the error of the block."""
    exporter.clear()
    raised = None
    with tracer.start_as_current_span("request"):
        try:
            yield
        except BaseException as error:
            raised = type(error).__name__
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans if span.context}
    found[name] = [described(span, names) for span in spans if span.name not in ("request", "connect")]
    seen[name] = raised


def instrument() -> None:
    settings = InstrumentationSettings()
    configure_fast_paths(FAST)
    patch_exception_recording(Patches())
    for each in (RedisInstrumentation(), HttpxInstrumentation(), our_sqlalchemy):
        each.instrument(settings)


REQUESTS: dict[str, tuple[str, str, Json]] = {
    "200": ("GET", "/status/200", {}),
    "302": ("GET", "/status/302", {}),
    "404": ("GET", "/status/404", {}),
    "500": ("GET", "/status/500", {}),
    "post": ("POST", "/status/201", {"content": b"body"}),
    "custom method": ("BREW", "/status/200", {}),
    "query": ("GET", "/status/200?a=1&token=secret&sig=abc", {}),
    "own baggage": ("GET", "/headers/own", {"headers": {"baggage": "mine=1"}}),
    "fragment and unicode": ("GET", "/status/200?q=é#part", {}),
    "redirect": ("GET", "/redirect", {"follow_redirects": True}),
    "time-out": ("GET", "/slow", {"timeout": 0.05}),
}


def use_httpx() -> None:
    with httpx.Client(base_url=TARGET, trust_env=False, verify=False) as client:
        for name, (method, path, options) in REQUESTS.items():
            with case(f"httpx {name}"):
                client.request(method, path, **options)
        with case("httpx user info"):
            client.get(TARGET.replace("http://", "http://user:secret@") + "/status/200")
        with case("httpx refused"):
            client.get("http://127.0.0.1:1/")
        with case("httpx unknown scheme"):
            client.get("ftp://127.0.0.1/")
        with case("httpx stream"), client.stream("GET", "/status/200") as response:
            response.read()


async def use_async_httpx() -> None:
    async with httpx.AsyncClient(base_url=TARGET, trust_env=False, verify=False) as client:
        for name, (method, path, options) in REQUESTS.items():
            with case(f"async httpx {name}"):
                await client.request(method, path, **options)
        with case("async httpx refused"):
            await client.get("http://127.0.0.1:1/")
        with case("async httpx cancelled"):
            task = asyncio.create_task(client.get("/slow"))
            await asyncio.sleep(0.05)
            task.cancel()
            await task


def use_unusual_httpx() -> None:
    def hook(span: Any, *_: Any) -> None:
        span.set_attribute("hook", "yes")

    hooks: dict[str, Any] = {"request hook": {"request_hook": hook}, "response hook": {"response_hook": hook}}
    for name, options in hooks.items():
        with httpx.Client(base_url=TARGET, trust_env=False, verify=False) as client, case(f"httpx {name}"):
            HTTPXClientInstrumentor.instrument_client(client, **options)
            client.get("/status/404")
    reader = InMemoryMetricReader()
    measuring = MeterProvider([reader], shutdown_on_exit=False)
    HTTPXClientInstrumentor().uninstrument()
    with httpx.Client(base_url=TARGET, trust_env=False, verify=False) as client, case("httpx metrics of its own"):
        HTTPXClientInstrumentor.instrument_client(client, meter_provider=measuring)
        client.get("/status/200")
    data = reader.get_metrics_data()
    seen["measured"] = sorted(
        metric.name
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


COMMANDS: dict[str, tuple[Any, ...]] = {
    "set": ("SET", "a-key", "a-value"),
    "get": ("GET", "a-key"),
    "bytes": (b"SET", b"a-key", b"\xff\x00"),
    "number": ("INCRBY", "a-number", 3),
    "lower case": ("get", "a-key"),
    "many": ("MGET", *(f"key{number}" for number in range(400))),
    "error reply": ("INCRBY", "a-key", 1),
    "unknown command": ("BREW", "tea"),
    "search": ("FT.SEARCH", "index", "words"),
    "create": ("FT.CREATE", "index", "SCHEMA", "a", "TEXT"),
    "none": (),
}


def use_redis() -> None:
    with redis.Redis.from_url(VALKEY) as client:
        for name, command in COMMANDS.items():
            with case(f"redis {name}"):
                client.execute_command(*command)
        with case("redis pipeline"), client.pipeline() as pipeline:
            pipeline.set("b", 1).get("b").execute()
        with case("redis immediate"), client.pipeline() as pipeline:
            pipeline.watch("b")
            pipeline.get("b")
        with case("redis watch error"), client.pipeline() as pipeline:
            pipeline.watch("b")
            client.set("b", 2)
            pipeline.multi()
            pipeline.get("b")
            pipeline.execute()
    with redis.Redis.from_url(VALKEY) as client, case("redis of another address"):
        client.get("a")
        client.connection_pool.connection_kwargs["host"] = "localhost"  # like a proxy that follows a failover
        client.get("a")
    with case("redis other database"), redis.Redis.from_url(VALKEY.removesuffix("/0") + "/3") as client:
        client.get("a")
    host, _, port = VALKEY.removeprefix("redis://").removesuffix("/0").partition(":")
    with case("redis by host"), redis.Redis(host=host, port=int(port), db=None) as client:  # type: ignore[arg-type]
        client.get("a")
    once: Json = {"retry": None}
    with case("redis refused"), redis.Redis(port=1, **once) as client:
        client.get("a")
    with case("redis unix socket"), redis.Redis(unix_socket_path="/nowhere/valkey.sock", **once) as client:
        client.get("a")


async def use_async_redis() -> None:
    client: Any
    async with redis.asyncio.Redis.from_url(VALKEY) as client:
        for name, command in COMMANDS.items():
            with case(f"async redis {name}"):
                await client.execute_command(*command)
        with case("async redis pipeline"):
            async with client.pipeline() as pipeline:
                await pipeline.set("b", 1).get("b").execute()
        with case("async redis cancelled"):
            task = asyncio.create_task(client.execute_command("BLPOP", "nothing", 1))
            await asyncio.sleep(0.05)
            task.cancel()
            await task


STATEMENTS: dict[str, str] = {
    "select": "SELECT 1",
    "lower case": "select 1 as one",
    "leading comment": "/* shop */ SELECT 1",
    "padded": "   \n  SELECT 1",
    "failing": "SELECT * FROM no_such_table",
    "long": "SELECT '" + "x" * 10_000 + "'",
}


def use_connection(name: str, connection: Any) -> None:
    for kind, statement in STATEMENTS.items():
        with case(f"{name} {kind}"):
            try:
                connection.execute(text(statement))
            finally:
                connection.rollback()
    connection.execute(text(f"CREATE TABLE spans_{name} (id INTEGER)"))
    with case(f"{name} many"):
        connection.execute(text(f"INSERT INTO spans_{name} VALUES (:id)"), [{"id": 1}, {"id": 2}])
    with case(f"{name} raw"):
        connection.exec_driver_sql(f"DELETE FROM spans_{name}")
    with case(f"{name} comment only"), contextlib.suppress(DBAPIError):
        connection.exec_driver_sql("/* nothing */")
    connection.rollback()


def use_sql() -> None:
    engines = {"sqlite": create_engine("sqlite://"), "psycopg": create_engine(sql_url("psycopg"))}
    for name, engine in engines.items():
        with engine.connect() as connection:
            use_connection(name, connection)
        with case(f"{name} options"), engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
    server = POSTGRES.removeprefix("postgresql://postgres@").removesuffix("/postgres")
    engine = create_engine(f"postgresql+psycopg://postgres@/postgres?host={server.replace(':', '&port=')}")
    with case("psycopg without a host"), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.execute(text("SELECT 2"))
    engine.dispose()


def sql_url(driver: str) -> str:
    return POSTGRES.replace("postgresql://", f"postgresql+{driver}://", 1)


async def use_async_sql() -> None:
    for name, url in {"aiosqlite": "sqlite+aiosqlite://", "asyncpg": sql_url("asyncpg")}.items():
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            await connection.run_sync(functools.partial(use_connection, name))
        await engine.dispose()


def use_commenter() -> None:
    """Use an engine that the application itself traces, with comments, beside brain_otel."""
    statements: list[str] = []
    for attribute in (False, True):
        engine = create_engine("sqlite://")
        our_sqlalchemy._traced.add(engine)
        usage = metrics.get_meter("test").create_up_down_counter("usage")
        EngineTracer(tracer, engine, usage, True, {"opentelemetry_values": False}, attribute)  # type: ignore[no-untyped-call]
        with case(f"commenter {attribute}"), engine.connect() as connection:
            connection.connection.dbapi_connection.set_trace_callback(statements.append)  # type: ignore[union-attr]
            connection.execute(text("SELECT 1"))
        engine.dispose()
    seen["commented"] = [statement for statement in statements if "SELECT" in statement]


instrument()
use_httpx()
asyncio.run(use_async_httpx())
if "ONLY_HTTPX" not in os.environ:
    for use in (use_redis, use_sql, use_commenter):
        use()
    for use_async in (use_async_redis, use_async_sql):
        asyncio.run(use_async())
    use_unusual_httpx()
print(json.dumps({"spans": found, "seen": seen}))
