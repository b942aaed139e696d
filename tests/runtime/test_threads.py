"""Tests of the daemon threads that no instrumentation has patched."""

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from brain_otel.runtime.threads import finished, start_daemon
from tests.support.process import run_python
from tests.support.threads import no_new_threads

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME")


def test_a_thread_starts_as_a_daemon_in_an_empty_context() -> None:
    """It runs the target, and knows nothing of the request that started it."""
    found: list[tuple[str, bool, str | None]] = []

    def run() -> None:
        found.append((threading.current_thread().name, threading.current_thread().daemon, NAME.get(None)))

    token = NAME.set("request")
    thread = start_daemon(run, "brain_otel.test")
    NAME.reset(token)
    assert thread is not None
    thread.join(5)
    assert found == [("brain_otel.test", True, None)]


COPIES_SCOPES = """
import threading
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration
from brain_otel.runtime.threads import start_daemon
def read(name):
    tags[name] = dict(sentry_sdk.get_isolation_scope()._tags)
tags = {}
sentry_sdk.init(default_integrations=False, integrations=[ThreadingIntegration()])
sentry_sdk.set_tag("of", "request")
theirs = threading.Thread(target=read, args=("theirs",))
theirs.start()
for thread in (theirs, start_daemon(lambda: read("ours"), "brain_otel.test")):
    thread.join(5)
print(sorted(tags.items()))
"""


def test_sentry_sdk_copies_no_scope_into_a_thread() -> None:
    """Its integration patches `Thread.start` and `Thread.run`: an application's thread has the tag, ours does not."""
    done = run_python(COPIES_SCOPES)
    assert done.stdout == "[('ours', {}), ('theirs', {'of': 'request'})]\n", done.stderr


def test_no_thread_is_returned_where_none_can_start() -> None:
    with no_new_threads():
        assert start_daemon(lambda: None, "brain_otel.none") is None
    assert "brain_otel.none" not in [each.name for each in threading.enumerate()]


def test_a_job_is_waited_for_while_every_thread_of_the_loop_hangs() -> None:
    """The loop goes on meanwhile."""
    release, ticks = threading.Event(), 0

    async def main() -> str:
        nonlocal ticks
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        hanging = loop.run_in_executor(None, release.wait, 30.0)
        names: list[str] = []

        async def tick() -> None:
            nonlocal ticks
            while not names:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())

        def job() -> None:
            time.sleep(0.1)
            names.append(threading.current_thread().name)

        await asyncio.wait_for(finished(job, "brain_otel.test"), 10.0)
        release.set()
        await asyncio.gather(ticking, hanging)
        return names[0]

    assert asyncio.run(main()) == "brain_otel.test"
    assert ticks > 1


def test_a_job_runs_where_no_thread_can_start() -> None:
    done: list[bool] = []
    with no_new_threads():
        asyncio.run(finished(lambda: done.append(True), "brain_otel.none"))
    assert done == [True]


def test_a_job_may_outlive_the_loop_that_waits_for_it() -> None:
    """A server that shuts down gives up after a time."""
    release, ended = threading.Event(), threading.Event()

    def job() -> None:
        release.wait(30.0)
        ended.set()

    async def main() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(finished(job, "brain_otel.test"), 0.05)

    asyncio.run(main())
    release.set()
    assert ended.wait(10.0)
