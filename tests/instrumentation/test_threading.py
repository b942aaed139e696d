"""Work in threads stays in its request, and a thread that serves many requests belongs to none."""

import concurrent.futures
import contextvars
import gc
import queue
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio.to_thread
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace

import brain_otel
from brain_otel.instrumentation import threading as instrumentation
from brain_otel.instrumentation.threading import ThreadingInstrumentation
from brain_otel.testing import Telemetry, captured_telemetry
from brain_otel.traces import local_trace
from tests.apps import threaded
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import Server, free_port, run_python, uvicorn_command
from tests.support.waiting import until

SERVED = "import brain_otel\nbrain_otel.setup()\nfrom tests.apps.threaded import create_app\napp = create_app()\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, SentryIngest, OtlpReceiver]]:
    """The application under uvicorn, with two destinations."""
    folder: Path = tmp_path_factory.mktemp("threaded")
    (folder / "served.py").write_text(SERVED)
    port = free_port()
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        env = {
            "SENTRY_DSN": ingest.dsn,
            "SENTRY_ENVIRONMENT": "production",
            "SENTRY_TRACES_SAMPLE_RATE": "1.0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        }
        command = uvicorn_command("served:app", port)
        with Server(command, port, env=env, pythonpath=[folder, ROOT], cwd=folder) as server:
            yield server, ingest, receiver


def transaction_of(ingest: SentryIngest, name: str) -> dict[str, Any]:
    ingest.wait_for(lambda _: any(each["transaction"] == f"GET /{name}" for each in ingest.transactions))
    (found,) = (each for each in ingest.transactions if each["transaction"] == f"GET /{name}")
    return found


def events_in(trace: str, ingest: SentryIngest) -> list[dict[str, Any]]:
    return [each for each in ingest.events if each["contexts"]["trace"]["trace_id"] == trace]


def logged_in(trace: str, receiver: OtlpReceiver) -> list[Any]:
    return [each for each in receiver.log_records if each.trace_id == trace]


@pytest.mark.parametrize("way", threaded.WAYS)
def test_work_in_threads_stays_in_its_request(served: tuple[Server, SentryIngest, OtlpReceiver], way: str) -> None:
    """One transaction with three statements, in one trace at both destinations, however the threads are made."""
    server, ingest, receiver = served
    assert server.get(f"/{way}").status_code == 200
    transaction = transaction_of(ingest, way)
    trace = transaction["contexts"]["trace"]["trace_id"]
    assert [span["op"] for span in transaction["spans"] if span["op"].startswith("db")] == ["db"] * 3
    assert {span["trace_id"] for span in transaction["spans"]} == {trace}
    receiver.wait_for(lambda _: sum(each.trace_id == trace for each in receiver.spans) >= 4)
    assert not [each for each in ingest.transactions if each["transaction"].lower().startswith("select")]


def test_work_that_outlives_its_request_is_in_its_trace(served: tuple[Server, SentryIngest, OtlpReceiver]) -> None:
    """What has begun by then is in its transaction too."""
    server, ingest, receiver = served
    server.get("/outlives")
    trace = transaction_of(ingest, "outlives")["contexts"]["trace"]["trace_id"]
    receiver.wait_for(lambda _: sum(each.trace_id == trace for each in receiver.spans) == 3)


def test_an_error_in_a_thread_is_linked_to_its_request(served: tuple[Server, SentryIngest, OtlpReceiver]) -> None:
    """One event and one log record, unhandled or captured, with the request's user and tags."""
    server, ingest, receiver = served
    for name, kind, handled in (("fails", "ZeroDivisionError", False), ("captured_in_pool", "KeyError", True)):
        server.get(f"/{name}")
        trace = transaction_of(ingest, name)["contexts"]["trace"]["trace_id"]
        until(partial(events_in, trace, ingest))
        (event,) = events_in(trace, ingest)
        assert event["exception"]["values"][-1]["type"] == kind
        assert event["exception"]["values"][-1]["mechanism"]["handled"] is handled
        assert event["transaction"] == f"GET /{name}"
        assert event.get("tags", {}).get("by") == (None if handled else "thread")
        assert event.get("user", {}).get("id") == ("u1" if handled else None)
        until(partial(logged_in, trace, receiver))
        assert len(logged_in(trace, receiver)) == 1


def seen() -> tuple[str, int]:
    """What code in a thread belongs to."""
    trace = local_trace.current()
    return (trace.kind if trace else "", len(otel_context.get_current()))


NOTHING = ("", 0)


class Listening(threading.Thread):
    """As libraries do it, by its module."""

    __module__ = "redis.client"

    def __init__(self, jobs: Any, answers: Any) -> None:
        super().__init__(daemon=True)
        self.jobs, self.answers = jobs, answers

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            self.answers.put(job())


Listening.run.__module__ = "redis.client"


def test_threads_that_serve_many_belong_to_none(telemetry: Telemetry) -> None:
    """A pool's thread that a request has started has the context of each job, and none between them."""
    initial: list[tuple[str, int]] = []
    jobs: Any = queue.Queue()
    answers: Any = queue.Queue()
    with ThreadPoolExecutor(1, initializer=lambda: initial.append(seen())) as pool:
        with brain_otel.start_transaction("first") as first:
            assert pool.submit(seen).result()[0] == "transaction"
            threads = ThreadPool(1, lambda: initial.append(seen()))
            Listening(jobs, answers).start()
        with brain_otel.start_transaction("second") as second:
            span = pool.submit(lambda: brain_otel.capture_message("job")).result()
            assert span
            assert threads.apply(seen)[0] == "transaction"
            jobs.put(seen)
            assert answers.get() == NOTHING
        assert pool.submit(seen).result() == threads.apply(seen) == NOTHING
        jobs.put(None)
        threads.terminate()
    assert initial == [NOTHING, NOTHING]
    (event,) = telemetry.events
    ids = {each["transaction"]: each["contexts"]["trace"]["trace_id"] for each in telemetry.transactions}
    assert event["contexts"]["trace"]["trace_id"] == ids["second"]
    del first, second


def test_a_job_that_leaves_a_context_attached_leaves_none_to_the_next(telemetry: Telemetry) -> None:
    """Whatever it does to its own."""

    def careless() -> None:
        otel_context.attach(otel_context.set_value("left", "behind"))

    with ThreadPoolExecutor(1) as pool, ThreadPool(1) as threads:
        with brain_otel.start_transaction("first"):
            pool.submit(careless).result()
            threads.apply(careless)
        assert pool.submit(seen).result() == threads.apply(seen) == NOTHING


@pytest.mark.parametrize("sampled", ["1.0", "0.0"])
def test_an_ended_request_is_forgotten(sampled: str) -> None:
    """No pool, executor, future or thread object that it has used or made keeps its context."""
    kept: list[Any] = []

    def request() -> "weakref.ref[Any]":
        with brain_otel.start_transaction("request"):
            pool, threads = ThreadPoolExecutor(2), ThreadPool(2)
            ended = threading.Thread(target=seen)
            ended.start()
            ended.join()
            future, result = pool.submit(seen), threads.map_async(lambda _: seen(), [1, 2])
            assert future.result()[0] == result.get()[0][0] == "transaction"
            kept.extend((pool, threads, ended, future, result))
            return weakref.ref(otel_trace.get_current_span())

    with captured_telemetry({"SENTRY_TRACES_SAMPLE_RATE": sampled}):
        reference = request()
        assert brain_otel.flush()
        gc.collect()
        assert reference() is None
        kept[0].shutdown()
        kept[1].terminate()


class WithoutInit(threading.Thread):
    def __init__(self) -> None:
        """Forget to call the base."""


class Equal(threading.Thread):
    """Equal to all others of its kind, and it overrides what it can."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 1

    def run(self) -> None:
        results.append(seen()[0])


results: list[Any] = []


def test_threads_behave_as_without_us(telemetry: Telemetry) -> None:
    """Errors, results, names, attributes and hooks are the application's own."""
    with brain_otel.start_transaction("request"):
        with pytest.raises(RuntimeError, match=r"thread\.__init__\(\) not called"):
            WithoutInit().start()
        started = threading.Thread(target=lambda: results.append(seen()[0]), name="own")
        before = set(vars(started))
        started.start()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            started.start()
        started.join()
        assert set(vars(started)) <= before
        odd = Equal()
        odd.start()
        odd.join()
        direct = threading.Thread(target=lambda: results.append(seen()[0]))
        direct.run()
    assert results == ["transaction"] * 3
    results.clear()


def test_jobs_behave_as_without_us(telemetry: Telemetry) -> None:
    """The same exception object, arguments by name, wrong calls, other executors and pickles."""
    error = ValueError("own")

    def fail(**given: Any) -> None:
        assert given == names
        raise error

    names = {"fn": 1, "executor": 2, "context": 3, "function": 4}

    with brain_otel.start_transaction("request"), ThreadPoolExecutor(1) as pool, ThreadPool(1) as threads:
        assert pool.submit(fail, **names).exception() is error
        with pytest.raises(ValueError, match="own") as caught:
            threads.apply(fail, (), names)
        assert caught.value is error
        assert pool.submit(contextvars.copy_context().run, seen).result()[0] == "transaction"
        assert pool.submit(None).exception().args == ("'NoneType' object is not callable",)  # type: ignore[arg-type,union-attr]
        with pytest.raises(TypeError, match="missing"):
            pool.submit()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="missing"):
            threads.map()  # type: ignore[call-arg]
        with concurrent.futures.ProcessPoolExecutor(1) as processes:
            assert processes.submit(abs, -1).result() == 1
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(seen)


def test_an_executor_of_interpreters_gets_the_function_itself(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It pickles its jobs, as Python 3.14's does."""

    class Interpreters(ThreadPoolExecutor):
        """Stands for it."""

    module: Any = SimpleNamespace(InterpreterPoolExecutor=Interpreters)
    with brain_otel.start_transaction("request"), Interpreters(1) as pool:
        assert pool.submit(seen).result()[0] == "transaction"
        monkeypatch.setitem(sys.modules, "concurrent.futures.interpreter", module)
        assert pool.submit(seen).result() == NOTHING


def test_the_hook_for_exceptions_is_the_applications(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called as before, also one set later; each exception is an event, but for SystemExit."""
    calls: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: calls.append(args.exc_value))
    error = KeyError("own hook")

    def fails() -> None:
        raise error

    def run(target: Callable[[], object]) -> None:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    with brain_otel.start_transaction("request"):
        run(fails)
        run(sys.exit)
    monkeypatch.setattr(threading, "excepthook", lambda args: calls.append(args.exc_value))
    run(lambda: [][0])
    assert [type(each) for each in calls] == [KeyError, SystemExit, IndexError]
    assert calls[0] is error
    assert [each["exception"]["values"][-1]["type"] for each in telemetry.events] == ["KeyError", "IndexError"]
    (transaction,) = telemetry.transactions
    linked, unlinked = (each["contexts"]["trace"]["trace_id"] for each in telemetry.events)
    assert linked == transaction["contexts"]["trace"]["trace_id"] != unlinked
    calls.clear()


def test_our_own_threads_carry_no_request(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ours nor those of sentry-sdk and OpenTelemetry that the first request starts."""
    carried: list[str] = []
    enter = ThreadingInstrumentation._enter_context

    def watched(self: Any, thread: threading.Thread) -> None:
        if id(thread) in self._starting:
            carried.append(thread.name)
        enter(self, thread)

    monkeypatch.setattr(ThreadingInstrumentation, "_enter_context", watched)
    with brain_otel.start_transaction("request"):
        brain_otel.capture_message("starts what there is")
        own = threading.Thread(target=seen, name="own")
        own.start()
        own.join()
        anyio.run(anyio.to_thread.run_sync, seen)
    assert brain_otel.flush()
    assert carried == ["own"]


def test_everything_is_as_before_after_the_end() -> None:
    """The methods are the original ones."""

    def methods() -> list[Any]:
        executors = [vars(ThreadPoolExecutor)["submit"], *(vars(ThreadPool).get(name) for name in POOL)]
        return [vars(threading.Thread)["start"], vars(threading.Thread)["_bootstrap_inner"], *executors]

    with captured_telemetry():
        pass  # sentry-sdk's patches stay
    before = methods()
    with captured_telemetry():
        assert methods() != before
    assert methods() == before


POOL = sorted(instrumentation._POOL_METHODS)

RENAMED = """
import threading
threading.Thread._bootstrap_renamed = threading.Thread._bootstrap_inner
del threading.Thread._bootstrap_inner
threading.Thread._bootstrap = lambda self: self._bootstrap_renamed()
import brain_otel
brain_otel.setup()
from concurrent.futures import ThreadPoolExecutor
from tests.instrumentation.test_threading import seen
with brain_otel.start_transaction("request"), ThreadPoolExecutor(1) as pool:
    print(pool.submit(seen).result()[0])
    thread = threading.Thread(target=lambda: print(seen()))
    thread.start()
    thread.join()
"""


def test_without_the_method_that_starts_threads_jobs_are_carried() -> None:
    """One line says so, and threads start as always."""
    done = run_python(RENAMED, pythonpath=[ROOT])
    assert done.stdout.splitlines() == ["transaction", str(NOTHING)], done.stderr
    assert done.stderr.count("replacing Thread._bootstrap_inner") == 1


def test_a_job_without_a_request_is_not_wrapped(telemetry: Telemetry) -> None:
    """Nothing is paid where there is nothing to carry."""

    def depth() -> int:
        return len(traceback.extract_stack())

    with ThreadPoolExecutor(1) as pool:
        without = pool.submit(depth).result()
        with brain_otel.start_transaction("request"):
            assert pool.submit(depth).result() == without + 1
