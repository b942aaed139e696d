"""Shutdown leaves apps as they were found, and a server's shutdown waits for nothing of the application's."""

import json
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, run_python, uvicorn_command
from tests.support.waiting import until

APPS = """
import asyncio, json, os, sys, tempfile
from collections import Counter
import httpx
from fastapi import BackgroundTasks, FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.background import BackgroundTask
import brain_otel

made = Counter()

def create(name):
    app = FastAPI()
    class Middleware:
        def __init__(self, app):
            self.app = app
            made[name] += 1
        async def __call__(self, scope, receive, send):
            await self.app(scope, receive, send)
    app.add_middleware(Middleware)
    @app.get("/")
    def home(tasks: BackgroundTasks):
        tasks.add_task(int)
    return app

async def ask(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app.test") as client:
        (await client.get("/")).raise_for_status()

apps = {name: create(name) for name in ("new", "built", "wrapped", "own", "own and built")}
wrapper = apps["wrapped"].build_middleware_stack
apps["wrapped"].build_middleware_stack = lambda: wrapper()
theirs = apps["wrapped"].build_middleware_stack
for name in ("own", "own and built"):
    FastAPIInstrumentor.instrument_app(apps[name])
for name in ("built", "own and built"):
    asyncio.run(ask(apps[name]))
stacks = {name: app.middleware_stack for name, app in apps.items()}
call = BackgroundTask.__call__

with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    file.write(sys.argv[1])
    file.flush()
    brain_otel.setup(config_file=file.name)
for app in apps.values():
    asyncio.run(ask(app))
brain_otel.shutdown()

found = {
    name: {
        "stack": app.middleware_stack is stacks[name],
        "own": "build_middleware_stack" in vars(app),
        "traced": getattr(app, "_is_instrumented_by_opentelemetry", False),
        "made": made[name],
    }
    for name, app in apps.items()
}
found["wrapped"]["theirs"] = apps["wrapped"].build_middleware_stack is theirs
for app in apps.values():
    asyncio.run(ask(app))
print(json.dumps([found, BackgroundTask.__call__ is call]))
"""

FILE = """
file_format: "1.1"
tracer_provider: {{processors: [{{memory: {{}}}}]}}
distribution:
  brain_otel:
    instrumentation: {{fastapi: {kind}}}
"""


@pytest.mark.parametrize("kind", ["contrib", "native"])
def test_apps_are_left_as_they_were_found(kind: str) -> None:
    """A stack that was built stays; contrib's instrumentation that the application has set up stays too."""
    done = run_python(APPS, arguments=[FILE.format(kind=kind)], pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    found, is_their_call = json.loads(done.stdout)
    assert is_their_call
    assert found == {
        "new": {"stack": True, "own": False, "traced": False, "made": 1},
        "built": {"stack": True, "own": False, "traced": False, "made": 1},
        "wrapped": {"stack": True, "own": True, "traced": False, "made": 1, "theirs": True},
        "own": {"stack": True, "own": True, "traced": True, "made": 1},
        "own and built": {"stack": True, "own": True, "traced": True, "made": 1},
    }


BUSY = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from fastapi import FastAPI
import brain_otel

@asynccontextmanager
async def lifespan(app):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Pool(1))
    loop.run_in_executor(None, threading.Event().wait)
    yield

class Pool(ThreadPoolExecutor):
    def shutdown(self, wait=True, *, cancel_futures=False):
        pass

app = FastAPI(lifespan=lifespan)
brain_otel.setup()

@app.get("/")
def home():
    return brain_otel.capture_message("before the end")
"""


def test_a_server_shuts_down_while_the_loops_threads_hang(ingest: SentryIngest, tmp_path: Path) -> None:
    """Its flush has a thread of its own."""
    (tmp_path / "busy.py").write_text(BUSY)
    port = free_port()
    env = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "staging"}
    with Server(uvicorn_command("busy:app", port), port, env=env, pythonpath=[tmp_path]) as server:
        server.request("GET", "/")
        server.terminate(timeout=20.0)
    until(lambda: len(ingest.events) == 1)
