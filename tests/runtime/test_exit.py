"""Tests of the end of a process: queued data is sent, and nothing is logged about us."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.destinations.service import environment_of, write_config
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import Server, free_port, run_python, uvicorn_command
from tests.support.tiers import quick_first, quick_one_in
from tests.support.waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def config(receiver: OtlpReceiver, tmp_path: Path) -> Path:
    """Send everything to the receiver, but only on a flush or at the end of the process."""
    batched: list[Any] = [{"otlp": {"endpoint": receiver.endpoint, "schedule_delay": 60_000}}]
    metrics: list[Any] = [{"otlp": {"endpoint": receiver.endpoint}}]
    return write_config(tmp_path, traces=batched, logs=batched, metrics=metrics, interval=60_000)


def run(script: Path, text: str, config: Path, **env: str) -> subprocess.CompletedProcess[str]:
    script.write_text(text)
    done = run_python(script, environment_of(config, env), pythonpath=[ROOT], fresh=True)
    assert done.returncode == 0, done.stderr
    return done


WORKERS = """
import logging, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import brain_otel

def work(name):
    from opentelemetry import metrics
    with brain_otel.start_transaction(name):
        brain_otel.capture_message(f"said by {name}")
    metrics.get_meter("test").create_counter("done").add(1, {"by": name})

if __name__ == "__main__":
    brain_otel.setup()
    context = multiprocessing.get_context("fork")
    if sys.argv[1:] == ["early"]:
        work("before")
    process = context.Process(target=work, args=("process",))
    process.start()
    process.join()
    assert process.exitcode == 0
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(work, "pool").result()
    work("parent")
"""


@pytest.mark.parametrize("order", ["import multiprocessing first", "import multiprocessing later"])
def test_workers_of_multiprocessing_flush(order: str, config: Path, receiver: OtlpReceiver, tmp_path: Path) -> None:
    """They end by `os._exit`, without `atexit`; each sends its own data, and no data is sent twice."""
    text = WORKERS
    if order == "import multiprocessing later":
        text = text.replace(
            "import logging, multiprocessing, sys\nfrom concurrent.futures import ProcessPoolExecutor", "import sys"
        )
        text = text.replace(
            "brain_otel.setup()",
            "brain_otel.setup()\n    import multiprocessing\n    from concurrent.futures import ProcessPoolExecutor",
        )
    done = run(tmp_path / "script.py", text, config)
    assert sorted(span.name for span in receiver.spans) == ["parent", "pool", "process"]
    assert sorted(record.body for record in receiver.log_records) == [
        f"said by {name}" for name in ("parent", "pool", "process")
    ]
    points = [point for each in receiver.metrics if each.name == "done" for point in each.points]
    assert {point.attributes["by"] for point in points} == {"parent", "pool", "process"}
    assert done.stderr == ""


STARTED = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import brain_otel
method, who, how = sys.argv[1:]

def setup():
    brain_otel.setup()

def work(number):
    with brain_otel.start_transaction(f"work {number}"):
        pass

def setup_and_work(number):
    setup()
    work(number)

def work_in_grandchild(number):
    setup()
    child = multiprocessing.get_context("fork").Process(target=work, args=(number,))
    child.start()
    child.join()

if who == "the module":
    setup()
if __name__ == "__main__":
    context = multiprocessing.get_context(method)
    if who == "parent and worker":
        setup()
    initializer = setup if "worker" in who else None
    if how == "executor":
        with ProcessPoolExecutor(2, mp_context=context, initializer=initializer) as pool:
            list(pool.map(work, range(8)))
    elif how == "pool":
        with context.Pool(2, initializer=initializer) as pool:
            pool.map(work, range(8))
            pool.close()
            pool.join()
    else:
        target = work_in_grandchild if how == "grandchildren" else setup_and_work if "worker" in who else work
        processes = [context.Process(target=target, args=(number,)) for number in range(8)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0
"""

STARTS = [
    (method, who, how)
    for method in ("forkserver", "fork", "spawn")
    for who in ("worker", "parent and worker", "the module")
    for how in ("executor", "pool", "processes")
]


@pytest.mark.parametrize(
    ("method", "who", "how"),
    [
        *quick_one_in(10, STARTS),
        *quick_first((method, "worker", "grandchildren") for method in ("forkserver", "fork", "spawn")),
    ],
)
def test_workers_flush_however_they_start_and_whoever_sets_them_up(
    config: Path, receiver: OtlpReceiver, tmp_path: Path, method: str, who: str, how: str
) -> None:
    """Python 3.14 starts workers by forkserver; eight pieces of work are eight spans, each once."""
    script = tmp_path / "script.py"
    script.write_text(STARTED)
    done = run_python(script, environment_of(config), arguments=[method, who, how], pythonpath=[ROOT], fresh=True)
    assert done.returncode == 0, done.stderr
    assert sorted(span.name for span in receiver.spans) == [f"work {number}" for number in range(8)], done.stderr
    assert "Traceback" not in done.stderr


COUNTING = """
import logging
from fastapi import FastAPI
import brain_otel
from brain_otel.runtime.limited_log import CountLog
app = FastAPI()
brain_otel.setup(app)
log = CountLog(logging.getLogger("brain_otel.counting"), "counted: %s")
log.add("first")
log.add("second")
@app.get("/")
def home(): return {}
"""


@pytest.mark.parametrize("workers", quick_first([2, 1]))
def test_a_worker_of_uvicorn_says_what_is_left(tmp_path: Path, workers: int) -> None:
    """The signal that ends it is the default one's again before anything of ours could run."""
    (tmp_path / "counting.py").write_text(COUNTING)
    port = free_port()
    with SentryIngest() as hanging:
        hanging.delay = 60.0
        env = {"SENTRY_DSN": hanging.dsn, "SENTRY_ENVIRONMENT": "staging", "SENTRY_TRACES_SAMPLE_RATE": "1.0"}
        command = uvicorn_command("counting:app", port, workers=workers)
        with Server(command, port, env=env, pythonpath=[tmp_path], fresh=True) as server:
            until(lambda: server.output.count("Application startup complete") == workers)
            for _ in range(20):
                server.request("GET", "/")
            server.terminate(timeout=20.0)
            output = server.output
    assert output.count("counted: 1 first\n") == workers, output
    assert output.count("counted: 1 second\n") == workers, output
    assert "shuts down before everything was sent" in output


SLOW_APP = """
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
import brain_otel
served = FastAPI()
brain_otel.setup()
@served.get("/")
def home():
    brain_otel.capture_message("said")
mounting = Starlette(routes=[Mount("/", served)])
"""


@pytest.mark.parametrize(
    ("app", "options"),
    quick_first(
        [
            ("served", ["--workers", "2", "--lifespan", "off"]),
            ("served", ["--workers", "2"]),
            ("served", []),
            ("mounting", ["--workers", "2"]),
        ]
    ),
)
def test_what_uvicorn_leaves_in_memory_is_counted(tmp_path: Path, app: str, options: list[str]) -> None:
    """By category, in one line and in a report to Sentry, which is slow: nothing is lost without a count."""
    (tmp_path / "slow.py").write_text(SLOW_APP)
    port = free_port()
    with SentryIngest() as slow:
        slow.delay = 0.6
        env = {"SENTRY_DSN": slow.dsn, "SENTRY_ENVIRONMENT": "test", "SENTRY_PROFILES_SAMPLE_RATE": "0"}
        command = [*uvicorn_command(f"slow:{app}", port), *options]
        with Server(command, port, env=env, pythonpath=[tmp_path], fresh=True) as server:
            until(lambda: server.output.count("Application startup complete") + ("off" in options) * 2 >= 1)
            for _ in range(40):
                server.request("GET", "/")
            server.terminate(timeout=20.0)
            output = server.output
        slow.delay = 0.0
        logged = Counter[str]()
        for line in re.findall("what is in memory may be lost: (.*)", output):
            logged.update({category: int(count) for count, category in map(str.split, line.split(", "))})
        reported = Counter[str]()
        until(lambda: len(slow.client_reports) == (2 if options else 1))
        for each in [row for report in slow.client_reports for row in report["discarded_events"]]:
            reported[each["category"]] += each["quantity"] * (each["reason"] == "queue_overflow")
        assert len(slow.transactions) + logged["transaction"] >= 40, output
        assert len(slow.events) + logged["error"] >= 40, output
        assert reported == logged, output
        assert len({each["event_id"] for each in slow.transactions}) == len(slow.transactions)
        assert not options or "were not sent in time" not in output  # the signal has ended them


FINALIZERS = """
import atexit, builtins, logging
import brain_otel
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s")
brain_otel.setup()

class Late:
    def __init__(self, name):
        self.name = name

    def __del__(self):
        logging.getLogger("shop").info("the end of %s", self.name)
        brain_otel.capture_message(self.name)
        brain_otel.capture_exception(ValueError(self.name))
        brain_otel.set_tag("a", "b")
        brain_otel.add_breadcrumb("crumb")

kept = Late("a global")
builtins.kept_longer = Late("a builtin")
circle = Late("a circle")
circle.itself = circle
atexit.register(lambda: logging.getLogger("shop").info("at exit"))
"""


def test_finalizers_that_log_cause_no_log_line_of_ours(config: Path, receiver: OtlpReceiver, tmp_path: Path) -> None:
    """Objects that die with the interpreter may log and use the helpers; data that cannot be sent is lost."""
    done = run(tmp_path / "script.py", FINALIZERS, config)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("urllib3", "asyncio"))]
    assert "shop the end of a global" in lines
    assert [line for line in lines if not line.startswith("shop ")] == []
    assert "at exit" in [record.body for record in receiver.log_records]


CLEAN = """
import logging
logging.basicConfig(level=logging.WARNING, format="%(name)s %(levelname)s %(message)s")
import brain_otel
brain_otel.setup(environment="production")
from opentelemetry import metrics
metrics.get_meter("test").create_counter("sold").add(3)
with brain_otel.start_transaction("work"):
    brain_otel.capture_message("said")
print(brain_otel.flush(5), brain_otel.shutdown(5), brain_otel.shutdown(5), brain_otel.flush(5))
"""


def test_a_clean_end_logs_nothing(receiver: OtlpReceiver, tmp_path: Path) -> None:
    """With production's file, neither `shutdown()` nor the interpreter's exit after it."""
    done = run_python(
        CLEAN,
        {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "SENTRY_TRACES_SAMPLE_RATE": "1.0"},
        cwd=tmp_path,
        pythonpath=[ROOT],
        fresh=True,
    )
    assert (done.returncode, done.stdout) == (0, "True True True True\n"), done.stderr
    assert done.stderr == ""
    assert [span.name for span in receiver.spans] == ["work"]
    assert "sold" in {metric.name for metric in receiver.metrics}
