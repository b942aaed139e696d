"""An app that logs in coroutines, threads, tasks and background tasks; `/records` returns the emitted log records.

With SETUP the app calls `setup()`. ORDER says when it configures logging: `before` or `after` that, or `force`, which
also replaces the handlers. INSTRUMENTOR says when it uses contrib's instrumentor itself: `before` or `after`.
"""

import asyncio
import contextvars
import logging
import logging.config
import os
import threading
from typing import Any

from fastapi import BackgroundTasks, FastAPI

import brain_otel
from brain_otel.destinations.memory import MEMORY

FORMAT = "%(name)s|%(trace_id)s|%(span_id)s|%(message)s"

ORDER, INSTRUMENTOR = os.environ.get("ORDER", "after"), os.environ.get("INSTRUMENTOR")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"ids": {"format": FORMAT}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "ids"}},
    "root": {"level": "INFO", "handlers": ["out"]},
}


def instrument() -> None:
    from opentelemetry.instrumentation.logging import LoggingInstrumentor

    LoggingInstrumentor().instrument()


if ORDER == "before":
    logging.config.dictConfig(LOGGING)
if INSTRUMENTOR == "before":
    instrument()
if os.environ.get("SETUP"):
    brain_otel.setup()
if INSTRUMENTOR == "after":
    instrument()
if ORDER == "after":
    logging.config.dictConfig(LOGGING)
if ORDER == "force":
    logging.basicConfig(level=logging.INFO)
    logging.basicConfig(level=logging.INFO, format=FORMAT, force=True)

logger = logging.getLogger("shop")
app = FastAPI()


@app.get("/async")
async def in_coroutine() -> None:
    logger.info("async")


@app.get("/sync")
def in_thread() -> None:
    logger.info("sync")


@app.get("/threads")
async def in_threads() -> None:
    await asyncio.to_thread(logger.info, "to_thread")
    for context in (contextvars.copy_context(), contextvars.Context()):
        name = "with context" if len(context) else "without context"
        thread = threading.Thread(target=context.run, args=(logger.info, name))
        thread.start()
        thread.join()
    await asyncio.create_task(in_task())


async def in_task() -> None:
    logger.info("task")


@app.get("/background")
async def in_background(tasks: BackgroundTasks) -> None:
    tasks.add_task(logger.info, "background sync")
    tasks.add_task(in_background_task)


async def in_background_task() -> None:
    logger.info("background async")


@app.get("/span")
async def in_span() -> None:
    with brain_otel.start_span("inner"):
        logger.info("inner")


@app.get("/boom")
async def boom() -> None:
    raise RuntimeError("boom")


@app.get("/logged-boom")
async def logged_boom() -> None:
    try:
        raise RuntimeError("logged")
    except RuntimeError:
        logger.exception("it failed")
        raise


@app.get("/logged")
async def logged() -> None:
    try:
        raise RuntimeError("handled")
    except RuntimeError:
        logger.exception("it failed")


@app.get("/captured")
async def captured() -> str | None:
    try:
        raise RuntimeError("captured")
    except RuntimeError as error:
        return brain_otel.capture_exception(error)


@app.get("/captured-boom")
async def captured_boom() -> None:
    try:
        raise RuntimeError("captured")
    except RuntimeError as error:
        brain_otel.capture_exception(error)
        raise


@app.get("/records")
async def records() -> dict[str, Any]:
    found = [(each.log_record, each.instrumentation_scope) for each in MEMORY.log_records]
    contexts = [span.get_span_context() for span in MEMORY.spans]
    return {
        "records": [
            {
                "scope": scope.name if scope else None,
                "body": record.body,
                "trace_id": f"{record.trace_id:032x}" if record.trace_id else "",
                "span_id": f"{record.span_id:016x}" if record.span_id else "",
                "attributes": dict(record.attributes or {}),
            }
            for record, scope in found
        ],
        "spans": {
            span.name: [f"{context.trace_id:032x}", f"{context.span_id:016x}"]
            for span, context in zip(MEMORY.spans, contexts, strict=True)
            if context is not None
        },
    }


logger.info("imported")
