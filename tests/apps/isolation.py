"""An app whose requests leave their marker in every helper, while other requests do the same."""

import asyncio
import logging
import random
import time

from fastapi import BackgroundTasks, FastAPI

import brain_otel

brain_otel.setup()

logger = logging.getLogger(__name__)


class AppError(Exception):
    """The failure of this app. Its text is the request's marker."""


app = FastAPI()


@app.get("/ready")
async def ready() -> None: ...


@app.get("/async/{marker}")
async def say_in_pieces(marker: str, fail: bool = False) -> str:
    await asyncio.sleep(random.random() * 0.02)
    brain_otel.set_user_context(user_id=marker)
    await asyncio.sleep(random.random() * 0.02)
    brain_otel.set_tag("marker", marker)
    await asyncio.sleep(random.random() * 0.02)
    brain_otel.set_context("order", {"marker": marker})
    await asyncio.gather(say_in_a_task(marker), asyncio.to_thread(say_in_a_thread, marker))
    await asyncio.sleep(random.random() * 0.02)
    if fail:
        raise AppError(marker)
    return marker


async def say_in_a_task(marker: str) -> None:
    await asyncio.sleep(random.random() * 0.02)
    brain_otel.add_breadcrumb(f"task {marker}")


def say_in_a_thread(marker: str) -> None:
    logger.warning("thread %s", marker)


@app.get("/sync/{marker}")
def say_in_pieces_on_a_thread(marker: str, fail: bool = False) -> str:
    time.sleep(random.random() * 0.01)
    brain_otel.set_user_context(user_id=marker)
    time.sleep(random.random() * 0.01)
    brain_otel.set_tag("marker", marker)
    brain_otel.set_context("order", {"marker": marker})
    time.sleep(random.random() * 0.01)
    brain_otel.add_breadcrumb(f"task {marker}")
    logger.warning("thread %s", marker)
    if fail:
        raise AppError(marker)
    return marker


@app.get("/silent/{name}")
async def fail_without_a_word(name: str) -> None:
    raise AppError(name)


@app.get("/background/{marker}")
async def say_then_work_in_background(marker: str, tasks: BackgroundTasks) -> None:
    brain_otel.set_user_context(user_id=marker)
    brain_otel.set_tag("marker", marker)
    tasks.add_task(fail_in_background, marker)


def fail_in_background(marker: str) -> None:
    raise AppError(marker)


@app.get("/transaction/{marker}")
async def say_then_start_a_transaction(marker: str) -> None:
    brain_otel.set_user_context(user_id=marker)
    with brain_otel.start_transaction("inner") as transaction:
        transaction.set_tag("inner", "inner")
        brain_otel.set_tag("marker", marker)
        brain_otel.capture_message("inside")
    brain_otel.capture_message("after")
