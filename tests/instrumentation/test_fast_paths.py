"""The switch `fast_paths`: on, our code replaces contrib's; off, contrib and the SDK do all the work."""

import json
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.private_names import PrivateName, run_renamed
from tests.support.process import run_python
from tests.support.tiers import quick_first

SCRIPT = """
import asyncio, json, os, sys
import brain_otel
brain_otel.setup()
import httpx, redis
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation import asgi, fastapi as contrib_fastapi, redis as contrib_redis
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.sdk.trace import SpanProcessor
from sqlalchemy import create_engine, text

kinds = {}

class Noting(SpanProcessor):
    def on_start(self, span, parent_context=None):
        kinds[span.name.partition(" ")[0]] = type(span).__name__.strip("_")

trace.get_tracer_provider().add_span_processor(Noting())
app = FastAPI()

@app.get("/")
async def root():
    with create_engine("sqlite://").connect() as connection:
        connection.execute(text("SELECT 1"))
    try:
        redis.Redis(port=1).ping()
    except redis.ConnectionError:
        pass
    async with httpx.AsyncClient() as client:
        try:
            await client.post("http://127.0.0.1:1/")
        except httpx.ConnectError:
            return "ok"

async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        assert (await client.get("/")).json() == "ok"

asyncio.run(main())
replaced = {
    "middleware": contrib_fastapi.OpenTelemetryMiddleware is not asgi.OpenTelemetryMiddleware,
    "httpx": HTTPXClientInstrumentor._handle_async_request_wrapper.__module__,
    "redis": contrib_redis._traced_execute_factory.__globals__["__name__"],
    "sqlalchemy": EngineTracer._before_cur_exec.__globals__["__name__"],
}
loaded = sorted(name.rpartition(".")[2] for name in sys.modules if name.startswith("brain_otel.instrumentation."))
print(json.dumps([kinds, replaced, [name for name in loaded if name.endswith("_span")]]))
"""

FAST_MODULES = ["client_span", "command_span", "fast_span", "server_span", "statement_span"]


def run(fast_paths: str, names: tuple[str, ...] = ()) -> tuple[list[Any], str]:
    env = {"SENTRY_DSN": "http://key@127.0.0.1:9/1", "SENTRY_ENVIRONMENT": "production"}
    env |= {"SENTRY_TRACES_SAMPLE_RATE": "1", "BRAIN_OTEL_FAST_PATHS": fast_paths}
    given = [PrivateName(name=name, used_in=(), purpose="", pinned_by="") for name in names]
    done = run_python(run_renamed(given, SCRIPT), env, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_fast_paths_create_every_span_of_a_request() -> None:
    """The request, a statement, a command and a call each have a span."""
    (kinds, replaced, loaded), _ = run("true")
    assert kinds == dict.fromkeys(["GET", "SELECT", "PING", "POST"], "FastSpan")
    assert replaced["middleware"]
    ours = [replaced[name] for name in ("redis", "sqlalchemy")]
    assert all(module.startswith("brain_otel.instrumentation.") for module in ours)
    assert loaded == FAST_MODULES


def test_with_the_switch_off_contrib_and_the_sdk_create_every_span() -> None:
    """The fast paths are not loaded and replace nothing."""
    (kinds, replaced, loaded), log = run("false")
    assert kinds == dict.fromkeys(["GET", "SELECT", "PING", "POST"], "Span")
    assert replaced["httpx"].startswith("opentelemetry.instrumentation.")
    assert loaded == ["command_span", "fast_span", "server_span"]  # they correct what contrib makes, too
    assert "brain_otel failed" not in log


@pytest.mark.parametrize("name", quick_first(["trace.propagation._SPAN_KEY", "instrumentation._semconv"]))
def test_a_fast_path_that_cannot_be_loaded_logs_one_line_for_each_library(name: str) -> None:
    """Contrib asks OpenTelemetry's tracer for the spans, and the line says that the application is not affected."""
    (kinds, replaced, _), log = run("true", (f"opentelemetry.{name}",))
    assert kinds.pop("GET") == "Span"
    assert kinds == dict.fromkeys(["SELECT", "PING", "POST"], "FastSpan")
    assert not replaced["middleware"]
    lines = [line for line in log.splitlines() if "brain_otel failed" in line]
    libraries = [line.partition("fast path of ")[2].partition(";")[0] for line in lines]
    assert sorted(libraries) == ["FastAPI", "HTTPX", "Redis", "SQLAlchemy"]
    assert all("the application is not affected" in line for line in lines)
