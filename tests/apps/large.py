"""An app whose requests make events and transactions larger than Sentry accepts, unless something is cut."""

import logging
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI

import brain_otel

brain_otel.setup()
app = FastAPI()
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})


def insert(batches: int, rows: int) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS orders (a, b, c, d, e, f, g, h, i, j)")
        for number in range(batches):
            statement = (
                f"INSERT INTO orders VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'] * (rows + number % 9))}"
            )
            connection.exec_driver_sql(statement, (1,) * statement.count("?"))


@app.get("/inserts")
def inserts() -> None:
    insert(100, 400)
    raise ValueError("after 100 batches")


@app.get("/batches")
def batches() -> None:
    insert(1_000, 90)


@app.get("/lines")
def lines() -> None:
    for number in range(100):
        logger.info("line %d %s", number, "word " * 7_000)
    raise ValueError("after 100 lines")


@app.get("/breadcrumbs")
def breadcrumbs() -> None:
    for number in range(100):
        brain_otel.add_breadcrumb(f"step {number}", data={f"fact {each}": "word " * 2_000 for each in range(10)})
    raise ValueError("after 100 breadcrumbs")


@app.get("/message")
def message() -> None:
    brain_otel.capture_message("word " * 500_000)


@app.get("/text")
def text() -> None:
    raise ValueError("é" * 3_000_000)


@app.get("/context")
def context() -> None:
    for number in range(40):
        brain_otel.set_context(f"shop {number}", {f"fact {each}": "word " * 150 for each in range(100)})
    brain_otel.set_tag("tag", "x" * 5_000)
    raise ValueError("with contexts")


def descend(depth: int) -> int:
    values = [f"value {number} of {depth}" * 5 for number in range(20)]
    return descend(depth + 1) + len(values)


@app.get("/recursion")
def recursion() -> None:
    descend(0)


@app.get("/group")
def group() -> None:
    raise ExceptionGroup("many", list(_failures()))


def _failures() -> Iterator[Exception]:
    for number in range(45):
        try:
            _fail(number, ["word " * 10_000] * 5)
        except ValueError as error:
            yield error


def _fail(number: int, values: Any) -> None:
    raise ValueError(f"{number} {values}")


@app.get("/attributes")
def attributes() -> None:
    for number in range(60):
        with brain_otel.start_span("work", f"work {number}") as span:
            for each in range(100):
                span.set_attribute(f"fact {each}", "word " * 300)


@app.get("/events")
def events() -> None:
    with brain_otel.start_span("work", "work") as span:
        for number in range(100):
            span.add_event(f"event {number}", {"text": "word " * 5_000})
