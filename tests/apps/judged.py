"""Runs one service with all four libraries, helpers, jobs, WebSockets and failures, and prints all that it emits.

POSTGRES, REDIS and TARGET are addresses. What the application names itself begins with `shop.`. NATIVE chooses
FastAPI's own telemetry.
"""

import contextlib
import json
import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import brain_otel
from brain_otel.destinations.memory import MEMORY

CONFIG = Path(__file__).parents[2] / "config" / "test.yaml"


def configure() -> None:
    text = CONFIG.read_text()
    if os.environ.get("NATIVE"):
        text = text.replace("fastapi: contrib", "fastapi: native")
    text = text.replace("    instrumentation:\n", "    instrumentation:\n      cache_prefixes: [judged]\n")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "judged.yaml"
        file.write_text(text)
        brain_otel.setup(config_file=file)


configure()

import httpx  # noqa: E402 - after the set-up, as in a service
import redis  # noqa: E402
from celery import Celery  # noqa: E402
from celery.contrib.testing.worker import start_worker  # noqa: E402
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, WebSocket  # noqa: E402
from fastapi.routing import APIRouter  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402
from sqlalchemy import create_engine, text  # noqa: E402
from sqlalchemy.exc import DBAPIError  # noqa: E402
from starlette.routing import Host, Mount, Router  # noqa: E402
from starlette.websockets import WebSocketDisconnect  # noqa: E402

app, sub, tenant = FastAPI(), FastAPI(), FastAPI()
plain = APIRouter()
logger = logging.getLogger("shop")


class Rewriting:
    """Serves `/old` as `/items`, with a scope of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/old/"):
            path = scope["path"].replace("/old/", "/items/")
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)


app.add_middleware(Rewriting)


@app.get("/items/{item_id}")
@sub.get("/items/{item_id}")
@tenant.get("/items/{item_id}")
@plain.get("/items/{item_id}")
def item(item_id: int) -> int:
    brain_otel.set_user_context("u1", email="a@shop.test", username="anna", tier="gold", full_name="Anna A.")
    brain_otel.set_tag("shop.tier", "gold")
    brain_otel.set_context("shop", {"parcel": {"weights": [1, 2.5], "fragile": True}})
    brain_otel.add_breadcrumb("looking", category="shop", data={"shop.shelf": 7})
    brain_otel.measurement("rows_read", 7, "row")
    brain_otel.capture_feedback("too slow", "0af7651916cd43dd8448eb211c80319c", name="Anna A.", email="a@shop.test")
    with brain_otel.start_span("http.client", "call", **{"shop.note": "a"}), brain_otel.start_span("queue.publish"):
        pass
    return item_id


@app.get("/calls")
def calls() -> str:
    use_sql("sqlite:///" + os.environ["SQLITE"])
    use_sql(os.environ["POSTGRES"].replace("://", "+psycopg://"))
    use_redis(os.environ["REDIS"])
    with httpx.Client(trust_env=False) as client:
        client.get(os.environ["TARGET"] + "/status/200?q=1")
        client.get(os.environ["TARGET"] + "/status/500")
        with contextlib.suppress(httpx.HTTPError):
            client.get("http://127.0.0.1/refused", timeout=0.5)
    return "done"


@app.get("/boom")
def boom() -> None:
    logger.info("about to fail", extra={"color_message": "\x1b[36mabout\x1b[0m", "shop.reason": {"a": [1]}})
    raise LookupError("no such item")


@app.get("/unavailable")
def unavailable() -> None:
    raise HTTPException(503)


@app.get("/handled")
def handled() -> str:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        brain_otel.capture_exception(error, **{"shop.extra": 1})
        logger.exception("handled")
    brain_otel.capture_message("hello", level="warning")
    return "handled"


@app.get("/background")
def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(logger.warning, "later")
    return "soon"


@app.get("/agent")
def agent(request: Request) -> str:
    return request.headers["user-agent"]


@app.websocket("/rooms/{room}")
@sub.websocket("/rooms/{room}")
async def talk(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    await websocket.send_text(room)
    await websocket.receive_text()
    await websocket.close()


@app.websocket("/refusing")
async def refuse(websocket: WebSocket) -> None:
    await websocket.close()


@app.websocket("/failing")
async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    raise LookupError("no such room")


app.mount("/sub/{shelf}", sub)
app.router.routes.append(Mount("/plain", app=Router(routes=plain.routes)))
app.router.routes.append(Host("{name}.tenants.test", app=tenant))


def use_sql(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE things (id INTEGER UNIQUE)"))
        connection.execute(text("INSERT INTO things VALUES (:id)"), [{"id": 1}, {"id": 2}])
        connection.execute(text("INSERT INTO things VALUES (:id)"), [{"id": 3}])
        connection.execute(text("SELECT id FROM things WHERE id = 3")).all()
        with contextlib.suppress(DBAPIError):
            connection.execute(text("INSERT INTO things VALUES (1)"))
    for _ in range(20):
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    with contextlib.suppress(DBAPIError), engine.connect() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def use_redis(url: str) -> None:
    client: Any = redis.Redis.from_url(url)
    client.set("judged", "word")
    client.get("judged")
    with contextlib.suppress(redis.ResponseError):
        client.lpush("judged", 1)
    with contextlib.suppress(redis.ResponseError):
        client.execute_command("BREW")
    client.get("judged nothing")
    client.delete("judged")
    with client.pipeline() as pipeline:
        pipeline.set("a", 1).set("b", 2).execute()
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set("a", 1).get("b").execute()
    with client.pipeline() as pipeline:
        pipeline.get("a").execute()
    with client.pipeline() as pipeline:
        pipeline.execute()
    with contextlib.suppress(redis.ConnectionError):
        redis.Redis(port=1, retry=None).ping()  # type: ignore[arg-type]


def queue() -> None:
    """Send tasks to a worker in this process."""
    tasks: Any = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)

    @tasks.task(name="shop.pack", bind=True, max_retries=1)
    def pack(self: Any, parcel: int) -> None:
        raise self.retry(countdown=0) if self.request.retries == 0 else LookupError("no such parcel")

    with start_worker(tasks, perform_ping_check=False), brain_otel.start_transaction("order", op="task.nightly"):
        pack.delay(1).get(timeout=60, propagate=False, disable_sync_subtasks=False)


def ask() -> None:
    with TestClient(app, raise_server_exceptions=False, headers={"user-agent": "Googlebot/2.1"}) as client:
        for path in ("/items/1", "/sub/3/items/2", "/plain/items/3", "/old/4", "/items/no", "/nowhere"):
            client.get(path)
        for path in ("/calls", "/boom", "/unavailable", "/handled", "/background", "/agent?a=1&token=x"):
            client.get(path)
        client.get("/items/5", headers={"host": "blue.tenants.test:8080"})
        client.request("BREW", "/items/6")
        client.post("/items/7", json={})
        for path in ("/rooms/blue", "/sub/3/rooms/red"):
            with client.websocket_connect(path) as websocket:
                websocket.receive_text()
                websocket.send_text("bye")
                with contextlib.suppress(WebSocketDisconnect):
                    websocket.receive_text()
        for path in ("/refusing", "/nowhere", "/failing"):
            with contextlib.suppress(WebSocketDisconnect, LookupError), client.websocket_connect(path) as websocket:
                websocket.receive_text()


def work() -> None:
    with brain_otel.start_transaction("nightly", op="task.nightly") as job:
        job.set_tag("shop.batch", 1)
        with contextlib.suppress(ZeroDivisionError), brain_otel.start_span("db.query", "count"):
            1 / 0  # noqa: B018
    with contextlib.suppress(KeyError), brain_otel.start_transaction("failing job", op="queue.process"):
        raise KeyError("parcel")


def point(metric: Any, each: Any) -> Any:
    value = getattr(each, "value", None)
    return {"name": metric.name, "unit": metric.unit, "kind": type(metric.data).__name__, "value": value}


def scope_of(scope: Any) -> Any:
    return [scope.name, scope.version, scope.schema_url]


def emitted() -> Any:
    """All signals as JSON; the latest collection of the metrics holds all of them."""
    spans = [
        {
            "name": span.name,
            "kind": span.kind.name,
            "status": span.status.status_code.name,
            "attributes": dict(span.attributes or {}),
            "events": [{"name": each.name, "attributes": dict(each.attributes or {})} for each in span.events],
            "scope": scope_of(span.instrumentation_scope),
        }
        for span in MEMORY.spans
    ]
    logs = [
        {
            "name": each.log_record.event_name,
            "body": each.log_record.body,
            "attributes": dict(each.log_record.attributes or {}),
            "scope": scope_of(each.instrumentation_scope),
        }
        for each in MEMORY.log_records
    ]
    metrics = [
        {**point(metric, each), "attributes": dict(each.attributes or {}), "scope": scope_of(scope.scope)}
        for resource in (MEMORY.metrics[-1].resource_metrics if MEMORY.metrics else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for each in metric.data.data_points
    ]
    return {"spans": spans, "logs": logs, "metrics": metrics, "resource": dict(MEMORY.spans[0].resource.attributes)}


ask()
work()
queue()
brain_otel.flush()
print(json.dumps(emitted(), default=str))
