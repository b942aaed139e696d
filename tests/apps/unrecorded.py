"""Makes requests to an app in this process, and prints the ids, spans and forwarded headers of each.

CONFIG is the configuration file, VALKEY and TARGET are servers to call, COUNT is the number of requests that only
need a sampling decision.
"""

import asyncio
import json
import os
import random
from typing import Any

import httpx
import redis.asyncio
from fastapi import FastAPI
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, Tracer, TracerProvider
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

import brain_otel
from brain_otel.instrumentation.span_scope import is_excluded_call

brain_otel.setup(config_file=os.environ["CONFIG"])

Json = dict[str, Any]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

CALLERS: dict[str, dict[str, str]] = {
    "nobody": {},
    "w3c, no": {"traceparent": f"00-{TRACE}-{SPAN}-00"},
    "w3c, yes": {"traceparent": f"00-{TRACE}-{SPAN}-01"},
    "sentry, no": {"sentry-trace": f"{TRACE}-{SPAN}-0", "baggage": "theirs=1,sentry-sampled=false"},
    "sentry, yes": {"sentry-trace": f"{TRACE}-{SPAN}-1", "baggage": "theirs=1,sentry-sampled=true"},
    "both, no": {"traceparent": f"00-{TRACE}-{SPAN}-00", "sentry-trace": f"{TRACE}-{SPAN}-0"},
}

app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool)
started: list[str] = []
asked: list[str] = []


class Noting(SpanProcessor):
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        started.append(span.name)

    def on_end(self, span: ReadableSpan) -> None:
        pass


def note_starts() -> None:
    """Count each span that OpenTelemetry starts, recorded or not."""
    start_span = Tracer.start_span

    def noted_start(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(name)
        return start_span(self, name, *args, **kwargs)

    Tracer.start_span = noted_start  # type: ignore[method-assign]
    provider = otel_trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(Noting())


async def call(path: str) -> None:
    async with httpx.AsyncClient(base_url=os.environ["TARGET"], trust_env=False, verify=False) as client:
        await client.get(f"/headers/{path}", headers={"baggage": "mine=1"})


async def work(path: str) -> Json:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    async with redis.asyncio.Redis.from_url(os.environ["VALKEY"]) as client:
        await client.set("unrecorded", 1)
    await call(path)
    span = otel_trace.get_current_span()
    context = span.get_span_context()
    return {
        "trace": f"{context.trace_id:032x}",
        "span": f"{context.span_id:016x}",
        "flags": int(context.trace_flags),
        "recording": span.is_recording(),
        "left out": is_excluded_call(otel_context.get_current()),
    }


@app.get("/work/{number}")
async def worked(number: int) -> Json:
    return await work(str(number))


@app.get("/health")
async def health() -> Json:
    return await work("health")


@app.get("/boom/{number}")
async def boom(number: int) -> None:
    raise ValueError(f"boom {number}")


@app.api_route("/decide/{number}", methods=["GET", "POST"])
async def decided(number: int) -> Json:
    span = otel_trace.get_current_span()
    return {"trace": f"{span.get_span_context().trace_id:032x}", "recording": span.is_recording()}


async def ask(client: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None) -> Json:
    started.clear()
    asked.clear()
    response = await client.get(path, headers=headers or {})
    answer = response.json() if response.status_code == 200 else {}
    return {**answer, "status": response.status_code, "recorded spans": sorted(started), "asked for": sorted(asked)}


async def main() -> None:
    note_starts()
    random.seed(4)  # drawn like OpenTelemetry's trace ids, the same at every run
    found: Json = {"decisions": []}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
        for number in range(int(os.environ.get("COUNT", "0"))):
            found["decisions"].append((await client.get(f"/decide/{number}")).json())
        if "COUNT" not in os.environ:
            for number, (name, headers) in enumerate(CALLERS.items()):
                found[name] = await ask(client, f"/work/{number}", headers)
                found[f"{name}, failing"] = await ask(client, f"/boom/{number}", headers)
            found["health"] = await ask(client, "/health")
        for name, method in (("posted", "POST"), ("got", "GET")):
            found[name] = (await client.request(method, "/decide/0", headers={"user-agent": "special"})).json()
    brain_otel.flush(5.0)
    print(json.dumps(found))


asyncio.run(main())
