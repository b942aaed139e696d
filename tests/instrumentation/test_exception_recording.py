"""The application's exceptions pass through every instrumentation as they are, also those without words."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import Span, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import StaticPool, create_engine, text

import brain_otel
from brain_otel.testing import Telemetry, captured_telemetry
from tests.instrumentation.target import HttpTarget
from tests.support import ROOT
from tests.support.process import run_python

TYPE = f"{__name__}.BrokenError"

tracer = otel_trace.get_tracer(__name__)


class BrokenError(Exception):
    """Cannot be written out."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class EarlierError(Exception):
    """What the application handled when it raised the other."""


def broken() -> BrokenError:
    """Give one with a context of its own, as ``raise`` in an ``except`` clause makes it."""
    error = BrokenError()
    error.__context__ = EarlierError()
    return error


class FailingPool(redis.ConnectionPool):
    """Has no connection to give."""

    def __init__(self, error: BrokenError) -> None:
        super().__init__()
        self.error = error

    def get_connection(self, *_args: Any, **_kwargs: Any) -> Any:
        raise self.error


class FailingAsyncPool(redis.asyncio.ConnectionPool):
    def __init__(self, error: BrokenError) -> None:
        super().__init__()
        self.error = error

    async def get_connection(self, *_args: Any, **_kwargs: Any) -> Any:
        raise self.error


class FailingContent:
    """A request's body that the application cannot read."""

    def __init__(self, error: BrokenError) -> None:
        self.error = error

    def __iter__(self) -> Iterator[bytes]:
        raise self.error


class FailingAsyncContent:
    def __init__(self, error: BrokenError) -> None:
        self.error = error

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise self.error


Use = Callable[[BrokenError, str], Any]


def in_transaction(error: BrokenError, url: str) -> None:
    with brain_otel.start_transaction("work"):
        raise error


def in_span(error: BrokenError, url: str) -> None:
    with brain_otel.start_span("work"):
        raise error


def in_decorated_function(error: BrokenError, url: str) -> None:
    @brain_otel.start_transaction("work")
    def work() -> None:
        raise error

    work()


async def in_async_span(error: BrokenError, url: str) -> None:
    async with brain_otel.start_span("work"):
        raise error


def in_current_span(error: BrokenError, url: str) -> None:
    with tracer.start_as_current_span("work"):
        raise error


def in_span_that_is_not_current(error: BrokenError, url: str) -> None:
    with tracer.start_span("work"):
        raise error


def in_used_span(error: BrokenError, url: str) -> None:
    with otel_trace.use_span(tracer.start_span("work"), end_on_exit=True):
        raise error


def in_httpx(error: BrokenError, url: str) -> None:
    with httpx.Client(trust_env=False, verify=False) as client:
        client.post(url, content=FailingContent(error))


async def in_async_httpx(error: BrokenError, url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        await client.post(url, content=FailingAsyncContent(error))


def in_redis(error: BrokenError, url: str) -> None:
    redis.Redis(connection_pool=FailingPool(error)).get("key")


def in_redis_pipeline(error: BrokenError, url: str) -> None:
    pipeline = redis.Redis(connection_pool=FailingPool(error)).pipeline()
    pipeline.get("key")
    pipeline.execute()


async def in_async_redis(error: BrokenError, url: str) -> None:
    await redis.asyncio.Redis(connection_pool=FailingAsyncPool(error)).get("key")


def in_sqlalchemy(error: BrokenError, url: str) -> None:
    class Cursor(sqlite3.Cursor):
        def execute(self, statement: str, *args: Any) -> Any:
            if statement == "SELECT 1":
                raise error
            return super().execute(statement, *args)

    class Connection(sqlite3.Connection):
        def cursor(self, *_args: Any) -> Any:
            return super().cursor(Cursor)

    engine = create_engine("sqlite://", connect_args={"factory": Connection}, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    finally:
        engine.dispose()


OURS: list[Use] = [in_transaction, in_span, in_decorated_function, in_async_span]
OPENTELEMETRYS: list[Use] = [in_current_span, in_span_that_is_not_current, in_used_span]
LIBRARIES: list[Use] = [
    in_httpx,
    in_async_httpx,
    in_redis,
    in_redis_pipeline,
    in_async_redis,
    in_sqlalchemy,
]


def outcome(use: Use, error: BrokenError, url: str) -> BaseException | None:
    """What comes out of it."""
    try:
        result = use(error, url)
        if isinstance(result, Awaitable):
            asyncio.run(_awaited(result))
    except BaseException as raised:
        return raised
    return None


async def _awaited(result: Awaitable[Any]) -> None:
    await result


@pytest.mark.parametrize("use", [*OURS, *OPENTELEMETRYS, *LIBRARIES])
def test_an_exception_whose_str_fails_passes_through(use: Use, telemetry: Telemetry, target: HttpTarget) -> None:
    """The caller gets the same object with the same context, and the span has its type."""
    error = broken()
    assert outcome(use, error, f"{target.url}/") is error
    assert isinstance(error.__context__, EarlierError)
    assert error.__cause__ is None
    (span,) = [each for each in telemetry.spans if each["status"] == "error"]
    assert "BrokenError" in span["status_description"]
    if use is in_sqlalchemy:  # contrib records no exception there
        return
    (event,) = [each for each in span["events"] if each["name"] == "exception"]
    assert event["attributes"]["exception.type"] == TYPE
    assert event["attributes"]["exception.message"] == f"<{BrokenError.__module__}.{BrokenError.__qualname__}>"
    assert "BrokenError: <" in event["attributes"]["exception.stacktrace"]


FASTAPI = """
import asyncio, os
import brain_otel
brain_otel.setup(config_file="telemetry.yaml")
import httpx
from fastapi import FastAPI
from brain_otel.destinations.memory import MEMORY

class BrokenError(Exception):
    def __str__(self): raise RuntimeError("no words")

app, error = FastAPI(), BrokenError()

@app.get("/")
async def root(): raise error

async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        try:
            await client.get("/")
        except BaseException as raised:
            print(raised is error, error.__context__)

asyncio.run(main())
brain_otel.flush()
for span in MEMORY.spans:
    events = [event.attributes["exception.type"] for event in span.events]
    print(span.name, span.status.status_code.name, events or span.attributes.get("error.type"))
"""


@pytest.mark.parametrize(
    ("kind", "said"), [("contrib", "['__main__.BrokenError']"), ("native", "__main__.BrokenError")]
)
def test_an_exception_whose_str_fails_passes_through_fastapi(kind: str, said: str, tmp_path: Path) -> None:
    """The request's span has its type: contrib's in an event, FastAPI's own in an attribute."""
    (tmp_path / "telemetry.yaml").write_text(
        f'file_format: "1.1"\ntracer_provider: {{processors: [{{memory: }}]}}\n'
        'distribution: {brain_otel: {fast_paths: "${BRAIN_OTEL_FAST_PATHS:-true}", '
        f"instrumentation: {{fastapi: {kind}}}}}}}\n"
    )
    done = run_python(FASTAPI, {"SENTRY_ENVIRONMENT": "test"}, cwd=tmp_path, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    passed, *spans = done.stdout.splitlines()
    assert passed == "True None"
    (root,) = [each for each in spans if each.startswith("GET")]
    assert root == f"GET / ERROR {said}"
    assert "failed while" not in done.stderr


def words(provider: TracerProvider, exporter: InMemorySpanExporter, use: Callable[[Any], None]) -> list[Any]:
    """The status and the events of the one span that ``use`` makes, without what differs each time."""
    exporter.clear()
    with pytest.raises(ValueError, match="ordinary"):
        use(provider.get_tracer("test"))
    (span,) = exporter.get_finished_spans()
    events = [(each.name, {**(each.attributes or {}), "exception.stacktrace": ""}) for each in span.events]
    return [span.status.status_code, span.status.description, events]


def started_as_current(given: otel_trace.Tracer) -> None:
    with given.start_as_current_span("work"):
        raise ValueError("ordinary")


def started(given: otel_trace.Tracer) -> None:
    with given.start_span("work"):
        raise ValueError("ordinary")


def told_nothing(given: otel_trace.Tracer) -> None:
    with given.start_as_current_span("work", record_exception=False, set_status_on_exception=False):
        raise ValueError("ordinary")


def recorded(given: otel_trace.Tracer) -> None:
    with given.start_as_current_span("work", record_exception=False) as span:
        error = ValueError("ordinary")
        span.record_exception(error, {"mine": 1}, escaped=True)
        raise error


@pytest.mark.parametrize("use", [started_as_current, started, told_nothing, recorded])
def test_an_ordinary_exception_is_recorded_as_by_opentelemetry(use: Callable[[Any], None]) -> None:
    """Event and status are the same with and without our patch."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    without = words(provider, exporter, use)
    with captured_telemetry():
        protected = words(provider, exporter, use)
    for _, attributes in without[-1]:
        del attributes["exception.escaped"]
    assert protected == without


def test_shutdown_restores_the_patched_functions() -> None:
    """The fixture calls `shutdown()` at its end."""

    def found() -> list[Any]:
        of_spans = [vars(Span)[name] for name in ("record_exception", "__exit__")]
        return [otel_trace.use_span, *of_spans, vars(Tracer)["start_span"]]

    before = found()
    with captured_telemetry():
        during = found()
    assert all(one is not other for one, other in zip(before, during, strict=True))
    assert all(one is other for one, other in zip(before, found(), strict=True))


def test_use_span_still_decorates_functions(telemetry: Telemetry) -> None:
    """The span is current while a sync or async function runs."""
    span = tracer.start_span("work")

    @otel_trace.use_span(span)
    def current() -> otel_trace.Span:
        return otel_trace.get_current_span()

    @otel_trace.use_span(span)
    async def current_later() -> otel_trace.Span:
        await asyncio.sleep(0)
        return otel_trace.get_current_span()

    assert current() is span
    assert asyncio.run(current_later()) is span
    assert otel_trace.get_current_span() is not span
    span.end()
