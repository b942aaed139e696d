"""taskiq with a real worker on a real broker: transactions of tasks, their errors, and nothing of the broker."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.instrumentation.jobs.outcome import Expected, Outcome, worked
from tests.support import ROOT
from tests.support.services import Valkey
from tests.support.workers import async_worker

COMMAND = ["taskiq", "worker", "tests.apps.taskiq_tasks:broker", "--workers", "1"]

CASES: dict[str, Expected] = {
    "add": Expected(tasks=(("tasks.add", "ok", 0),)),
    "thread": Expected(tasks=(("tasks.add_in_thread", "ok", 0),)),
    "fails": Expected(tasks=(("tasks.send_mail", "internal_error", 0),), errors=("RuntimeError",)),
    "fails in a thread": Expected(
        tasks=(("tasks.send_mail_in_thread", "internal_error", 0),), errors=("RuntimeError",)
    ),
    "flaky": Expected(tasks=(("tasks.flaky", "ok", 0), ("tasks.flaky", "ok", 1))),
    "flaky for good": Expected(
        tasks=(("tasks.flaky", "ok", 0), ("tasks.flaky", "ok", 1), ("tasks.flaky", "internal_error", 2)),
        errors=("ValueError",),
    ),
    "rejected": Expected(tasks=(("tasks.rejected", "ok", 0),)),
    "counted": Expected(tasks=(("tasks.counted", "ok", 0),), calls=("db.redis",)),
    "forwards": Expected(tasks=(("tasks.forwards", "ok", 0), ("tasks.add", "ok", 0))),
}


def run(valkey: Valkey, folder: Path, *, launcher: bool = False) -> AbstractContextManager[Outcome]:
    start = partial(async_worker, COMMAND, "Listening started", cwd=folder)
    return worked("taskiq", ROOT / "tests/apps/taskiq_tasks.py", valkey.url, CASES, start, launcher=launcher)


@pytest.fixture(scope="module")
def outcome(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One worker for all cases."""
    with run(valkey, tmp_path_factory.mktemp("taskiq")) as found:
        yield found


@pytest.mark.parametrize("case", CASES)
def test_a_task_is_a_transaction_below_its_message(outcome: Outcome, case: str) -> None:
    """With the queue's facts, and its error as one event."""
    outcome.check(case, CASES[case])


def test_arguments_are_masked_by_name(outcome: Outcome) -> None:
    """In the event, its log record and the library's own log lines."""
    outcome.check_arguments("tasks.send_mail", [{"to": "bob", "password": "[Filtered]"}])


def test_the_brokers_commands_are_no_spans(outcome: Outcome) -> None:
    """Of the sender, the worker's loop, the results and their retrieval; those of a task's own client are."""
    outcome.check_commands()


@pytest.mark.thorough
def test_the_launcher_sees_the_same(valkey: Valkey, tmp_path: Path) -> None:
    """The worker and the sender run under `opentelemetry-instrument`, and call no `setup()`."""
    with run(valkey, tmp_path, launcher=True) as outcome:
        for case, expected in CASES.items():
            outcome.check(case, expected)
