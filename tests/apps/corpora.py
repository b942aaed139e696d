"""A service that plants each case of the corpora where it belongs, as a request asks it to."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import requests
import sentry_sdk
from celery import Celery
from fastapi import FastAPI, Request, Response, WebSocket
from opentelemetry import metrics, trace
from opentelemetry.trace import Link, Status, StatusCode
from sentry_sdk.crons import capture_checkin

import brain_otel
from tests.privacy.corpora import NAMED_PLACES, LookAlike, Secret
from tests.privacy.corpora.cases import CASES

brain_otel.setup()
app = FastAPI()
tracer = trace.get_tracer("corpora")
counter = metrics.get_meter("corpora").create_counter("orders")
log = logging.getLogger("corpora")
log.setLevel(logging.INFO)
log.addHandler(logging.NullHandler())  # the output is searched, and may hold only what brain_otel prints
log.propagate = False
queue = Celery("corpora", broker="memory://", set_as_current=False)


@queue.task(name="corpora.with_arguments")
def with_arguments(*given: Any, **named: Any) -> None:
    raise ValueError("a task failed")


@queue.task(name="corpora.with_text")
def with_text(value: str) -> None:
    raise RuntimeError(value)


def span(attributes: Any) -> None:
    with tracer.start_as_current_span("work", attributes=attributes):
        brain_otel.capture_message("worked")


def event(attributes: Any) -> None:
    with tracer.start_as_current_span("work") as current:
        current.add_event("packed", attributes)


def link(attributes: Any) -> None:
    with tracer.start_as_current_span("work") as current:
        links = [Link(current.get_span_context(), attributes)]
    tracer.start_span("other", links=links).end()


def variable(values: Mapping[str, Any]) -> None:
    """Fail in a function with these variables, as far as their names allow."""
    code = "\n".join(f"    {name} = values[{name!r}]" for name in values)
    scope: dict[str, Any] = {}
    exec(f"def fail(values):\n{code}\n    del values\n    raise ValueError('variable')", scope)
    try:
        scope["fail"](dict(values))
    except ValueError as error:
        brain_otel.capture_exception(error)


def failure(value: Any) -> None:
    try:
        raise ValueError(value)
    except ValueError as error:
        brain_otel.capture_exception(error)
        log.exception("it failed")


def note(value: str) -> None:
    error = ValueError("noted")
    error.add_note(value)
    brain_otel.capture_exception(error)


def text(value: str) -> None:
    """Put the text into messages, names, status and breadcrumbs."""
    brain_otel.add_breadcrumb(value)
    brain_otel.capture_message(value)
    log.error("%s", value)
    log.info(value)
    with tracer.start_as_current_span(value) as current:
        current.add_event(value)
        current.set_status(Status(StatusCode.ERROR, value))


def statement(value: str) -> None:
    span({"db.query.text": value, "db.statement": value})


def traceback(value: str) -> None:
    event({"exception.type": "a", "exception.message": "b", "exception.stacktrace": value})


def source(value: str) -> None:
    traceback(f'Traceback (most recent call last):\n  File "shop.py", line 3, in f\n{value}\nKeyError: 7')


def thread(value: str) -> None:
    worker = threading.Thread(target=lambda: brain_otel.capture_message("from a thread"), name=value)
    worker.start()
    worker.join()


def transaction(value: str) -> None:
    with brain_otel.start_transaction(value):
        log.error("in a job")
    capture_checkin(monitor_slug=value, status="ok")


def scoped(use: Callable[[Any, Any], object]) -> Callable[[Any], None]:
    def plant(value: Any) -> None:
        with sentry_sdk.new_scope() as scope:
            use(scope, value)
            sentry_sdk.capture_message("scoped")

    return plant


def logged(value: Any) -> None:
    template, *arguments = value
    log.error(template, *arguments)


def monitored(value: str) -> None:
    with contextlib.suppress(ValueError), brain_otel.monitor("nightly"):
        raise ValueError(value)


def told(value: str) -> None:
    brain_otel.capture_feedback(value)


def measured(value: str) -> None:
    with brain_otel.start_transaction("measured"):
        brain_otel.measurement(value, 3, "second")


def called(value: str) -> None:
    with contextlib.suppress(requests.RequestException):
        requests.get(value, timeout=1)
    try:
        requests.get(value, timeout=1)
    except requests.RequestException as error:
        brain_otel.capture_exception(error)


def attach(scope: Any, value: str) -> None:
    scope.add_attachment(bytes=value.encode(), filename="attached.txt")


PLANTS: dict[str, Callable[[Any], None]] = {
    "event attribute": event,
    "link attribute": link,
    "metric attribute": lambda value: counter.add(1, value),
    "local variable": variable,
    "environment": variable,
    "exception argument": failure,
    "exception message": failure,
    "exception note": note,
    "sql statement": statement,
    "sql comment": statement,
    "redis command": lambda value: span({"db.system.name": "redis", "db.query.text": value}),
    "span name": lambda value: span({"db.system.name": "sqlite", "db.query.text": value}),
    "traceback text": traceback,
    "source line": source,
    "thread name": thread,
    "task keyword": lambda value: with_arguments.apply(kwargs=value),
    "task argument": lambda value: with_arguments.apply(args=value),
    "task error": lambda value: with_text.apply(args=[value]),
    "monitor error": monitored,
    "feedback": told,
    "measurement": measured,
    "called url": called,
    "log template": logged,
    "llm message": lambda value: span({"gen_ai.input.messages": value, "gen_ai.operation.name": "chat"}),
    "transaction name": transaction,
    "user": scoped(lambda scope, value: scope.set_user(value)),
    "log argument": lambda value: log.error("said %s", value, extra={"argument": value}),
    "tag": scoped(lambda scope, value: scope.set_tags(value)),
    "context": scoped(lambda scope, value: [scope.set_context(name, each) for name, each in value.items()]),
    "breadcrumb data": scoped(lambda scope, value: scope.add_breadcrumb({"message": "a", "data": value})),
    "user extra": scoped(lambda scope, value: scope.set_user(value)),
    "ini file": scoped(attach),
    "yaml block": scoped(attach),
    "environment dump": scoped(attach),
    **dict.fromkeys(("url", "fragment", "websocket query"), lambda value: span({"url.full": value})),
    **dict.fromkeys(("query string", "doubly encoded query string"), lambda value: span({"url.query": value})),
    **dict.fromkeys(("span attribute", "driver statement", "grpc metadata"), span),
    **dict.fromkeys(("resource attribute", "process.command_args"), span),
}
ALSO_TEXTS = ("ini file", "yaml block", "environment dump", "exception message", "span name", "transaction name")


async def plant(case: Secret | LookAlike) -> None:
    known = PLANTS.get(case.where)
    if known is not None:
        known(case.text)
    elif case.where == "task name":
        await asyncio.create_task(in_task(), name=case.text)
    elif case.where in NAMED_PLACES or not isinstance(case.text, str):
        log.error("with fields", extra={"given": case.text})
        brain_otel.capture_message("with fields", given=case.text)
    if isinstance(case.text, str) and (known is None or case.where in ALSO_TEXTS):
        text(case.text)


async def in_task() -> None:
    log.error("in a task")


@app.post("/plant")
async def plant_cases(request: Request) -> None:
    for number in await request.json():
        sentry_sdk.get_isolation_scope().clear_breadcrumbs()  # else each event would carry all that came before
        await plant(CASES[number])


@app.post("/flush")
def flush() -> bool:
    return brain_otel.flush(20)


@app.get("/answers/{number}")
async def answer(number: int) -> Response:
    return Response(headers=dict(CASES[number].text))


@app.get("/reset/{reset_token}")
async def reset(reset_token: str) -> None:
    raise ValueError("a page failed")


@app.get("/orders/{order_id}")
async def order(order_id: str) -> None:
    raise ValueError("a page failed")


@app.websocket("/live")
async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()
    raise ValueError("a socket failed")


@app.post("/read")
async def read(request: Request) -> None:
    with contextlib.suppress(Exception):  # without python-multipart there are no forms
        await request.form()
    await request.body()
    raise ValueError("a body failed")


@app.get("/{path:path}")
async def page(path: str) -> None:
    raise ValueError("a page failed")
