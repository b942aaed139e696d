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
assert "brain_otel.configuration.substitution" in found
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


@pytest.mark.parametrize("is_frozen", [False, True])
def test_the_gc_does_not_run_for_setup(is_frozen: bool) -> None:
    """What set-up makes counts as old, unless the application has frozen objects, which then stay so."""
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
    runs, has_frozen = printed(code)
    assert (int(runs) > 0, has_frozen) == (is_frozen, str(is_frozen))


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
import asyncio, os, sys
import fastapi
import brain_otel

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
