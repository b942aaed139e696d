"""A span or transaction may end in another context than it started in: silently, whole, and without a trace of it."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from opentelemetry import trace as otel_trace
from sqlalchemy import create_engine, text

import brain_otel
from brain_otel.testing import Telemetry
from brain_otel.traces import local_trace

Block = Callable[[], AbstractContextManager[Any]]

BLOCKS: list[tuple[str, Block]] = [
    ("span", lambda: brain_otel.start_span("step", "block")),
    ("transaction", lambda: brain_otel.start_transaction("block")),
]


def here() -> dict[str, Any]:
    """Tell what later code of a request sees."""
    trace = local_trace.current()
    span: Any = otel_trace.get_current_span()
    return {"trace": (trace.kind, trace.closed) if trace is not None else None, "span": span.name}


def create_app(block: Block, seen: list[dict[str, Any]]) -> FastAPI:  # noqa: C901 - a list of endpoints
    app = FastAPI()

    def dependency() -> Iterator[None]:
        with block():
            yield

    def chunks() -> Iterator[str]:
        with block():
            yield from ("a", "b")

    async def rows() -> AsyncIterator[int]:
        with block():
            for number in range(3):
                yield number

    @app.get("/sync-dependency", dependencies=[Depends(dependency)])
    def sync_endpoint() -> None:
        seen.append(here())

    @app.get("/sync-dependency-of-async", dependencies=[Depends(dependency)])
    async def async_endpoint() -> None:
        seen.append(here())

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        seen.append(here())
        return StreamingResponse(chunks())

    @app.get("/closed-by-another-task")
    async def closed_elsewhere() -> None:
        generator: Any = rows()
        await anext(generator)
        await asyncio.create_task(generator.aclose())
        seen.append({"trace": here()["trace"]})

    @app.get("/left-to-the-collector")
    async def collected() -> None:
        generator: Any = rows()
        await anext(generator)
        del generator
        gc.collect()
        await asyncio.sleep(0.01)  # the loop closes it in a task of its own
        seen.append({"trace": here()["trace"]})

    @app.get("/interleaved")
    async def interleaved() -> None:
        generator: Any = rows()
        await anext(generator)
        with brain_otel.start_span("consumer"):
            async for _ in generator:
                pass
        seen.append(here())

    @app.get("/after-a-timeout")
    async def timed_out() -> None:
        async def slow() -> None:
            with block():
                await asyncio.sleep(10)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(), 0.01)
        seen.append(here())

    return app


PATHS = (
    "/sync-dependency",
    "/sync-dependency-of-async",
    "/stream",
    "/closed-by-another-task",
    "/left-to-the-collector",
    "/interleaved",
    "/after-a-timeout",
)


async def ask(app: FastAPI, path: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("kind", "block"), BLOCKS, ids=[kind for kind, _ in BLOCKS])
def test_a_block_that_ends_elsewhere_ends(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, kind: str, block: Block, path: str
) -> None:
    """No log line, each span whole and below the request's, and the request goes on with its own trace."""
    seen: list[dict[str, Any]] = []
    with caplog.at_level(logging.WARNING):
        asyncio.run(ask(create_app(block, seen), path))
    assert [record.getMessage() for record in caplog.records] == []
    assert [each["trace"] for each in seen] == [("request", False)]
    if "span" in seen[0]:
        assert seen[0]["span"] in ("GET", f"GET {path}")
    brain_otel.flush()
    spans = {each["name"]: each for each in telemetry.spans}
    assert spans["block"]["trace_id"] == spans[f"GET {path}"]["trace_id"]
    assert spans["block"]["parent_span_id"] == spans[f"GET {path}"]["span_id"]
    names = sorted(each["transaction"] for each in telemetry.transactions)
    assert names == ([f"GET {path}"] if kind == "span" else [f"GET {path}", "block"])


async def numbers(how: str) -> AsyncIterator[int]:
    """A generator that is suspended within a span, or within a transaction."""
    around = brain_otel.start_transaction("inner") if how == "transaction" else brain_otel.start_span("step")
    with around:
        yield 1
        yield 2


@pytest.mark.parametrize("inside", ["span", "transaction"])
@pytest.mark.parametrize("end", ["another task", "the garbage collector", "a nested block"])
def test_what_follows_an_abandoned_generator_belongs_to_the_work_around_it(
    telemetry: Telemetry, inside: str, end: str
) -> None:
    """The generator's span has ended in a context of its own, and is current here until somebody looks."""

    async def work() -> None:
        with brain_otel.start_transaction("work"):
            if end == "another task":
                generator = numbers(inside)
                await anext(generator)
                await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]  # it is a generator
                await follow()
            elif end == "the garbage collector":
                async for _ in numbers(inside):
                    break
                gc.collect()
                await asyncio.sleep(0.01)  # the loop closes it in a task
                await follow()
            else:
                generator = numbers(inside)
                with brain_otel.start_span("block"):
                    await anext(generator)
                    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
                await follow()

    async def follow() -> None:
        brain_otel.capture_message("said")
        with brain_otel.start_span("after"), engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    engine = create_engine("sqlite://")
    asyncio.run(work())
    engine.dispose()
    transaction = next(each for each in telemetry.transactions if each["transaction"] == "work")
    root = transaction["contexts"]["trace"]["span_id"]
    spans = {each["description"]: each for each in transaction["spans"]}
    assert spans["after"]["parent_span_id"] == root
    assert spans["SELECT ?"]["parent_span_id"] == spans["after"]["span_id"]
    (event,) = telemetry.events
    assert event["contexts"]["trace"]["span_id"] == root
    assert event["transaction"] == "work"
