"""Puts each text of a file into every part of telemetry; the tests look for it in everything that was sent."""

import asyncio
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import redis
from fastapi import Body, Cookie, FastAPI, Header
from opentelemetry import baggage, context, trace
from opentelemetry.trace import Link, Status, StatusCode
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

import brain_otel

brain_otel.setup()

TEXTS: list[str] = json.loads(Path(sys.argv[1]).read_text())

app = FastAPI()
tracer = trace.get_tracer("planted")
log = logging.getLogger("planted")
log.setLevel(logging.INFO)
logging.getLogger().addHandler(logging.NullHandler())  # else Python prints warnings
engine = create_engine("sqlite://")
store = redis.Redis.from_url(os.environ["REDIS_URL"])


@app.post("/fail/{number}")
async def fail(
    number: int,
    note: str,
    token: str,
    x_note: Annotated[str, Header()],
    payload: Annotated[dict[str, Any], Body()],
    sid: Annotated[str, Cookie()] = "",
) -> None:
    local, _nested = TEXTS[number], {"a": [{"note": note, "bytes": note.encode()}]}
    raise ValueError(f"{number}: {local}")


@app.get("/reset/{token}")
async def reset(token: str) -> int:
    brain_otel.capture_message("reset")
    return len(token)


def spans(planted: str) -> None:
    """Put the text into every part of a span."""
    with tracer.start_as_current_span("other") as other:
        link = Link(other.get_span_context(), {"note": planted})
    with tracer.start_as_current_span(
        f"work {planted}", attributes={"note": planted, "list": [planted]}, links=[link]
    ) as span:
        span.add_event(f"event {planted}", {"note": planted})
        span.set_status(Status(StatusCode.ERROR, planted))
        span.record_exception(ValueError(planted))
    with brain_otel.start_transaction(f"job {planted}", note=planted) as transaction:
        transaction.set_tag("note", planted)
        transaction.set_data("facts", {"note": planted})
        brain_otel.set_tag("other", planted)
        brain_otel.set_context("facts", {"note": planted, "list": [{"note": planted}]})
        brain_otel.add_breadcrumb(planted, data={"note": planted})
        brain_otel.capture_message(planted, note=planted, facts={"note": [planted]})


def errors(planted: str) -> None:
    """Put the text into messages, causes, notes and variables."""
    try:
        try:
            raise KeyError(planted)
        except KeyError as error:
            error.add_note(planted)
            raise RuntimeError(planted) from error
    except RuntimeError as error:
        brain_otel.capture_exception(error, note=planted)
        log.exception("failed with %s", planted, extra={"note": planted, "facts": {"note": planted}})


def logs(planted: str) -> None:
    """Put the text into a log message, its arguments and its extra fields."""
    log.info("said %s", planted, extra={"note": planted})
    log.error("said %s of %d", planted, 7, extra={"facts": {"note": planted}})
    log.warning(planted.replace("%", "%%"))


def calls(planted: str) -> None:
    """Put the text into statements, commands and calls that succeed or fail."""
    literal = planted.replace("'", "''").replace(":", "\\:")
    with engine.connect() as connection:
        connection.execute(text(f"SELECT '{literal}' AS a"))
        connection.execute(text("SELECT :note AS a"), {"note": planted})
        try:
            connection.execute(text(f"SELECT a FROM missing WHERE a = :note OR a = '{literal}'"), {"note": planted})
        except SQLAlchemyError as error:
            brain_otel.capture_exception(error)
    store.set("note", planted)
    store.hset("notes", "note", planted)
    for command in (("AUTH", "joe", planted), ("CONFIG SET", "note", planted), ("EVAL", f"return '{planted}'", 0)):
        with contextlib.suppress(redis.RedisError):
            store.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no types here
    pipeline = store.pipeline()
    pipeline.set("a", planted)
    pipeline.get("a")
    pipeline.execute()


async def requests(planted: str, number: int, client: httpx.AsyncClient) -> None:
    """Put the text into each part of a request."""
    line = " ".join(planted.split())
    headers = {"x-note": line, "authorization": line, "baggage": f"note={quote(planted)}", "user-agent": line}
    params = {"note": planted, "token": planted}
    token = context.attach(baggage.set_baggage("note", planted))
    await client.post(
        f"/fail/{number}",
        params=params,
        headers={**headers, "cookie": f"sid={quote(planted)}"},
        json={"note": planted},
    )
    await client.get(f"/reset/{quote(planted, safe='')}")
    context.detach(token)


async def main() -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
        for number, planted in enumerate(TEXTS):
            for plant in (spans, errors, logs, calls):
                plant(planted)
            await requests(planted, number, client)
            if number % 20 == 0:
                brain_otel.flush(10)


asyncio.run(main())
print("flushed", brain_otel.flush(20))
