"""A program that serves requests, among them one that fails, with a secret in everything that it reports.

It prints the answers of its clients as JSON. Its argument is the secret.
"""

import json
import logging
import sys

import brain_otel

brain_otel.setup()

from fastapi import FastAPI  # noqa: E402
from opentelemetry import trace  # noqa: E402
from opentelemetry.trace import SpanKind  # noqa: E402
from sqlalchemy import create_engine, text  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

secret = sys.argv[1]
app = FastAPI()
engine = create_engine("sqlite://")
tracer = trace.get_tracer("shop")


@app.get("/orders/{number}")
def order(number: int) -> int:
    with engine.connect() as connection:
        for _ in range(3):
            connection.execute(text(f"SELECT '{secret}'"))
    call = {"http.request.method": "GET", "url.full": f"http://stock.test/?token={secret}"}
    tracer.start_span("GET", kind=SpanKind.CLIENT, attributes=call).end()
    return number


@app.get("/marked/{number}")
def marked(number: int) -> int:
    brain_otel.set_user_context(f"user-{number}")
    brain_otel.set_tag("password", secret)
    brain_otel.set_context("card", {"api_key": secret})
    brain_otel.add_breadcrumb(f"password={secret}", data={"token": secret})
    with brain_otel.start_span("cache.get", f"get password={secret}", api_key=secret) as span:
        span.add_event(f"missed password={secret}", {"token": secret})
    return number


@app.get("/fails")
def fails() -> None:
    password = secret
    raise ValueError(f"no password={password}")


@app.get("/logs")
def logs() -> None:
    logging.getLogger("shop").error("declined password=%s", secret, extra={"api_key": secret})


with TestClient(app, raise_server_exceptions=False) as client:
    paths = [*(f"/{name}/{number}" for number in range(3) for name in ("orders", "marked")), "/fails", "/logs"]
    answers = [[answer.status_code, answer.text] for answer in map(client.get, paths)]
print(json.dumps(answers))
brain_otel.shutdown(8.0)
