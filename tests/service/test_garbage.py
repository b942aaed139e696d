"""A successful request leaves no reference cycles: Python frees its objects as soon as it is reported.

Cycles stay in memory until the garbage collector runs, and they make it run more often over all objects.
"""

import pytest

from tests.support.ingest import SentryIngest
from tests.support.process import run_python

CODE = """
import asyncio, gc, os
from collections import Counter
import brain_otel
brain_otel.setup()
import httpx
from fastapi import BackgroundTasks, FastAPI
app, mounted = FastAPI(), FastAPI()
app.mount("/mounted", mounted)

def alive():
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each).__name__ in OF_REQUESTS)

OF_REQUESTS = "LocalTrace", "RequestInProgress", "SamplingDecision", "DecisionState", "RequestScope", "CollectedTrace"

@app.get("/plain/{number}")
async def plain(number: int):
    assert alive()["LocalTrace"] >= 1

@app.get("/touched/{number}")
async def touched(number: int, tasks: BackgroundTasks):
    brain_otel.set_tag("number", str(number))
    brain_otel.set_user_context(user_id="u1")
    brain_otel.add_breadcrumb("step")
    tasks.add_task(brain_otel.add_breadcrumb, "another")

@app.get("/spanned/{number}")
async def spanned(number: int):
    with brain_otel.start_span("step"):
        pass

@mounted.get("/{number}")
async def inner(number: int):
    return number

async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client:
        for number in range(3):
            for path in ("plain", "touched", "spanned", "mounted"):
                assert (await client.get(f"/{path}/{number}")).status_code == 200
        brain_otel.flush(5)
        gc.collect()
        gc.disable()
        global before
        before = alive()  # a thread of sentry-sdk's holds the first request, in which it was started
        for path in ("plain", "touched", "spanned", "mounted"):
            assert (await client.get(f"/{path}/7")).status_code == 200

asyncio.run(ask())
assert brain_otel.flush(5)
print(dict(alive() - before))
"""


@pytest.mark.parametrize("rate", ["0", "1"])
def test_a_request_is_freed_once_it_is_reported(ingest: SentryIngest, rate: str) -> None:
    """Recorded or not, with a used scope, with spans, in a mounted app, with a background task."""
    variables = {"SENTRY_DSN": ingest.dsn, "SENTRY_TRACES_SAMPLE_RATE": rate, "ENVIRONMENT": "production"}
    # Only a scope that is forked on its first access can be referenced weakly. sentry-sdk's own are in a cycle.
    variables |= {"SENTRY_PROFILES_SAMPLE_RATE": "0", "BRAIN_OTEL_FAST_PATHS": "true"}
    done = run_python(CODE, variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{}\n"
    assert len(ingest.transactions) == (16 if rate == "1" else 0)


LATE = """
import asyncio, gc
import brain_otel
brain_otel.setup()
import httpx
from fastapi import FastAPI
app, left, go = FastAPI(), [], asyncio.Event()

async def late():
    await go.wait()
    gc.collect()
    brain_otel.capture_message("late")
    with brain_otel.start_transaction("later", op="task"):
        pass

@app.get("/items/{number}")
async def item(number: int):
    brain_otel.set_tag("number", str(number))
    left.append(asyncio.create_task(late()))

async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client:
        assert (await client.get("/items/7")).status_code == 200
    await asyncio.to_thread(brain_otel.flush, 5)
    go.set()
    await asyncio.gather(*left)

asyncio.run(ask())
assert brain_otel.flush(5)
"""


@pytest.mark.parametrize("rate", ["0", "1"])
def test_a_task_that_outlives_its_request_still_belongs_to_it(ingest: SentryIngest, rate: str) -> None:
    """The task keeps the tags and the trace of the request."""
    variables = {"SENTRY_DSN": ingest.dsn, "SENTRY_TRACES_SAMPLE_RATE": rate, "ENVIRONMENT": "production"}
    done = run_python(LATE, variables)
    assert done.returncode == 0, done.stderr
    (event,) = ingest.events
    assert event["message"] == "late"
    assert dict(event["tags"])["number"] == "7"
    if rate == "1":
        by_name = {each["transaction"]: each for each in ingest.transactions}
        assert set(by_name) == {"GET /items/{number}", "later"}
        assert dict(by_name["later"]["tags"])["number"] == "7"
        traces = {each["contexts"]["trace"]["trace_id"] for each in (event, *ingest.transactions)}
        assert len(traces) == 1
