"""Tests of the cost of `setup()`: regular expressions, garbage collection and imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.process import run_python

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"SENTRY_DSN": "http://key@127.0.0.1:9/1", "SENTRY_ENVIRONMENT": "production"}


def printed(code: str, **environment: str) -> list[str]:
    done = run_python(code, ENVIRONMENT | environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_setup_compiles_no_regular_expression_for_masking() -> None:
    """All of them take ten milliseconds; the first masked value compiles those that it needs."""
    code = """
import re, sys
compiled = []
compile = re.compile
def record(*given):
    compiled.append(sys._getframe(1).f_globals["__name__"])
    return compile(*given)
re.compile = record
import brain_otel
brain_otel.setup()
found = [name for name in compiled if name.startswith("brain_otel.")]
print(found.count("brain_otel.runtime.lazy_regex"), any("privacy" in name for name in found))
from brain_otel.privacy import policy
print(policy().text("password=hunter2"), compiled.count("brain_otel.runtime.lazy_regex") > 0)
"""
    assert printed(code) == ["0", "False", "password=[Filtered]", "True"]


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_setup_leaves_the_gc_as_it_was(before: str) -> None:
    code = f"""
import gc
gc.{before}()
import brain_otel
brain_otel.setup()
print(gc.isenabled())
"""
    assert printed(code) == [str(before != "disable")]


@pytest.mark.parametrize(("is_frozen", "freezes"), [(False, False), (False, True), (True, True)])
def test_the_gc_does_not_run_for_setup(is_frozen: bool, freezes: bool) -> None:
    """What set-up makes is frozen, or counts as old; what the application has frozen stays so."""
    code = f"""
import gc
import brain_otel
runs = []
gc.callbacks.append(lambda phase, info: runs.append(phase))
if {is_frozen}:
    gc.freeze()
brain_otel.setup()
made = [[] for _ in range(gc.get_threshold()[0] // 2)]
print(len(runs), gc.get_freeze_count() > 2_000)
"""
    runs, has_frozen = printed(code, BRAIN_OTEL_FREEZE_GC=str(freezes).lower())
    assert (int(runs) > 0, has_frozen) == (is_frozen, str(freezes))


def test_setup_imports_nothing_that_only_the_shipper_needs(tmp_path: Path) -> None:
    """With a spool and a shipper's process; nor tail sampling, which is not configured."""
    code = """
import sys
import brain_otel
brain_otel.setup()
brain_otel.capture_message("spooled")
names = ("delivery.spool.writer", "delivery.http", "delivery.retry_loop", "delivery.spool.shipper", "sampling.tail")
print(*("brain_otel." + name in sys.modules for name in names))
"""
    assert printed(code, BRAIN_OTEL_SPOOL_DIR=str(tmp_path)) == ["True", *["False"] * 4]


def test_setup_imports_neither_a_parser_nor_a_schema_for_a_packaged_file() -> None:
    code = """
import sys
import brain_otel
brain_otel.setup()
names = ("known_files", "schema", "yaml_nodes")
print(*("brain_otel.configuration." + name in sys.modules for name in names))
"""
    assert printed(code) == ["True", *["False"] * 2]


LATE = "brain_otel.privacy.all_rules"


def test_setup_imports_neither_rules_of_privacy_nor_a_spool_without_one() -> None:
    code = f"""
import sys
import brain_otel
brain_otel.setup()
names = ({LATE!r}, "brain_otel.delivery.spool.writer", "brain_otel.delivery.spool.shipper_process")
print(*(name in sys.modules for name in names))
"""
    assert printed(code, SENTRY_DSN="http://key@127.0.0.1:9/1") == ["False"] * 3


@pytest.mark.parametrize("event", ["the application starts", "a fork", "a fork without a set-up"])
def test_what_setup_leaves_is_imported_before_the_first_request_and_before_a_fork(event: str) -> None:
    """No error of the application waits for an import, and the children of a fork share the modules."""
    code = f"""
import asyncio, os, sys, warnings
import fastapi
import brain_otel

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

async def start():
    async def receive():
        return {{"type": "lifespan.startup"}}

    async def send(message):
        print({LATE!r} in sys.modules, flush=True)
        os._exit(0)

    await fastapi.FastAPI()({{"type": "lifespan", "asgi": {{"version": "3.0"}}, "state": {{}}}}, receive, send)

if {event!r} != "a fork without a set-up":
    brain_otel.setup()
if {event!r} == "the application starts":
    asyncio.run(start())
elif os.fork() == 0:
    print({LATE!r} in sys.modules, flush=True)
    os._exit(0)
else:
    os.wait()
"""
    assert printed(code) == [str(event != "a fork without a set-up")]


@pytest.mark.parametrize("module", ["fastapi", "asgi"])
def test_setup_imports_nothing_that_only_requests_need_unless_the_application_uses_it(module: str) -> None:
    """An application that imports contrib's modules may use its middleware in apps of its own."""
    code = f"""
import sys
import fastapi
import brain_otel
brain_otel.setup()
names = ("brain_otel.instrumentation.fastapi.serving", "opentelemetry.instrumentation.asgi", "asgiref.sync")
print(*(name in sys.modules for name in names))
import opentelemetry.instrumentation.{module}
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
print(names[0] in sys.modules, hasattr(OpenTelemetryMiddleware.__call__, "__wrapped__"))
"""
    assert printed(code) == [*["False"] * 3, "True", "True"]


@pytest.mark.parametrize("wraps", [False, True])
def test_what_serves_requests_takes_its_place_once(wraps: bool) -> None:
    """Also where the application has wrapped `FastAPI.__call__` after `setup()`: its wrapper runs once a request."""
    code = f"""
import asyncio, fastapi, functools, httpx
import brain_otel
from opentelemetry import trace
brain_otel.setup()
app, calls, kinds = fastapi.FastAPI(), [], []
app.get("/")(lambda: kinds.append(trace.get_current_span().kind.name))
call = fastapi.FastAPI.__call__
async def wrapping(*given):
    calls.append(1)
    await call(*given)
if {wraps}:
    fastapi.FastAPI.__call__ = wrapping
async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        return [(await client.get("/")).status_code for _ in range(2)]
print(*asyncio.run(ask()), *kinds, len(calls), fastapi.FastAPI.__call__ in (call, wrapping))
brain_otel.shutdown()
print(hasattr(fastapi.FastAPI.__call__, "__wrapped__") or fastapi.FastAPI.__call__ is wrapping)
"""
    rest = ["2", "True"] if wraps else ["0", "False"]
    given = printed(code, SENTRY_DSN="", SENTRY_TRACES_SAMPLE_RATE="1")
    assert given == ["200", "200", "SERVER", "SERVER", *rest, str(wraps)]
