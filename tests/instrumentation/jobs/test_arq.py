"""arq with a real worker on a real broker: transactions of tasks, their errors, and nothing of the broker."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.instrumentation.jobs.outcome import Expected, Outcome, end, environment_of, worked
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import run_python
from tests.support.services import Valkey
from tests.support.waiting import until
from tests.support.workers import async_worker

COMMAND = ["arq", "tests.apps.arq_jobs.WorkerSettings"]

CASES: dict[str, Expected] = {
    "add": Expected(tasks=(("add", "ok", 0),)),
    "fails": Expected(tasks=(("send_mail", "internal_error", 0),), errors=("RuntimeError",)),
    "flaky": Expected(tasks=(("flaky", "ok", 0), ("flaky", "ok", 1))),
    "counted": Expected(tasks=(("counted", "ok", 0),), calls=("db.redis",)),
    "forwards": Expected(tasks=(("forwards", "ok", 0), ("add", "ok", 0))),
}


def run(valkey: Valkey, folder: Path, *, launcher: bool = False) -> AbstractContextManager[Outcome]:
    start = partial(async_worker, COMMAND, "Starting worker", cwd=folder)
    return worked("arq", ROOT / "tests/apps/arq_jobs.py", valkey.url, CASES, start, launcher=launcher)


@pytest.fixture(scope="module")
def outcome(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One worker for all cases."""
    with run(valkey, tmp_path_factory.mktemp("arq")) as found:
        yield found


@pytest.mark.parametrize("case", CASES)
def test_a_task_is_a_transaction_below_its_message(outcome: Outcome, case: str) -> None:
    """With the queue's facts, and its error as one event."""
    outcome.check(case, CASES[case])


def test_arguments_are_masked_by_name(outcome: Outcome) -> None:
    """In the event, its log record and the library's own log lines."""
    outcome.check_arguments("send_mail", [{"to": "bob", "password": "[Filtered]"}])


def test_the_brokers_commands_are_no_spans(outcome: Outcome) -> None:
    """Of the sender, the worker's loop, the results and their retrieval; those of a task's own client are."""
    outcome.check_commands()


@pytest.mark.thorough
def test_the_launcher_sees_the_same(valkey: Valkey, tmp_path: Path) -> None:
    """The worker and the sender run under `opentelemetry-instrument`, and call no `setup()`."""
    with run(valkey, tmp_path, launcher=True) as outcome:
        for case, expected in CASES.items():
            outcome.check(case, expected)


@pytest.mark.thorough
def test_a_job_that_sigterm_interrupts_is_cancelled_and_runs_again(valkey: Valkey, tmp_path: Path) -> None:
    """Both runs are transactions of the sender's trace, the first sent at the worker's end; neither is an error."""
    app, case = ROOT / "tests/apps/arq_jobs.py", "interrupted"
    with SentryIngest() as ingest, OtlpReceiver() as receiver, ThreadPoolExecutor() as pool:
        env = environment_of(ingest, receiver, valkey.url)
        with async_worker(COMMAND, "Starting worker", env, tmp_path) as worker:
            sending = pool.submit(run_python, app, env, pythonpath=[ROOT], arguments=[case])
            until(lambda: "waiting" in worker.output)
            end(worker)
        jobs = [each for each in ingest.transactions if each["transaction"].endswith("patient")]
        assert [each["contexts"]["trace"]["status"] for each in jobs] == ["cancelled"]
        with async_worker(COMMAND, "Starting worker", env, tmp_path) as worker:
            assert sending.result().returncode == 0, sending.result().stderr
            end(worker)
        outcome = Outcome(library="arq", ingest=ingest, receiver=receiver)
        outcome.read([case])
        outcome.check(case, Expected(tasks=(("patient", "cancelled", 0), ("patient", "ok", 1))))
