"""taskiq with a real worker on a real broker: transactions of tasks, their errors, and nothing of the broker."""

from collections.abc import Iterator
from functools import partial

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


@pytest.fixture(scope="module")
def outcome(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """One worker for all cases."""
    start = partial(async_worker, COMMAND, "Listening started", cwd=tmp_path_factory.mktemp("taskiq"))
    with worked("taskiq", ROOT / "tests/apps/taskiq_tasks.py", valkey.url, CASES, start) as found:
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
