"""Celery with real workers on a real broker: transactions of tasks, their errors, and nothing of the broker."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.instrumentation.jobs.outcome import Expected, Outcome, environment_of
from tests.support import ROOT
from tests.support.check_ins import statuses
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import PROGRAMS, run_python
from tests.support.services import Valkey
from tests.support.workers import celery_worker

APP = ROOT / "tests/apps/celery_tasks.py"

CASES: dict[str, Expected] = {
    "add": Expected(tasks=(("tasks.add", "ok", 0),)),
    "by name": Expected(tasks=(("tasks.add", "ok", 0),)),
    "quiet": Expected(tasks=(("tasks.add_quietly", "ok", 0),)),
    "chain": Expected(tasks=(("tasks.add", "ok", 0),) * 2),
    "fails": Expected(tasks=(("tasks.send_mail", "internal_error", 0),), errors=("RuntimeError",)),
    "by place": Expected(tasks=(("tasks.send_mail", "internal_error", 0),), errors=("RuntimeError",)),
    "flaky": Expected(tasks=(("tasks.flaky", "ok", 0), ("tasks.flaky", "ok", 1))),
    "flaky for good": Expected(
        tasks=(("tasks.flaky", "ok", 0), ("tasks.flaky", "ok", 1), ("tasks.flaky", "internal_error", 2)),
        errors=("ValueError",),
    ),
    "ignored": Expected(tasks=(("tasks.ignored", "ok", 0),)),
    "rejected": Expected(tasks=(("tasks.rejected", "ok", 0),)),
    "expected": Expected(tasks=(("tasks.expected", "internal_error", 0),)),
    "unpicklable": Expected(tasks=(("tasks.unpicklable", "internal_error", 0),), errors=("UnpicklableError",)),
    "counted": Expected(tasks=(("tasks.counted", "ok", 0),), calls=("db.redis",)),
    "due": Expected(tasks=(("tasks.add", "ok", 0),)),
    "due, fails": Expected(tasks=(("tasks.send_mail", "internal_error", 0),), errors=("RuntimeError",)),
    "due, flaky": Expected(tasks=(("tasks.flaky", "ok", 0), ("tasks.flaky", "ok", 1))),
    "no broker": Expected(tasks=()),
}

LOST: dict[str, Expected] = {
    "lost": Expected(tasks=(), errors=("WorkerLostError",)),
    "slow": Expected(tasks=(), errors=("TimeLimitExceeded",)),
}
"""Cases in which a process ends in the middle of a task, which only the prefork pool survives."""

MORE: dict[str, Expected] = {
    "soft": Expected(tasks=(("tasks.soft", "internal_error", 0),), errors=("SoftTimeLimitExceeded",)),
    "limited": Expected(tasks=(("tasks.limited", "ok", 0),) * 2),
    "group": Expected(tasks=(("tasks.add", "ok", 0),) * 2),
    "chord": Expected(tasks=(("tasks.add", "ok", 0),) * 2 + (("tasks.total", "ok", 0),)),
    "countdown": Expected(tasks=(("tasks.add", "ok", 0),)),
    "eta": Expected(tasks=(("tasks.add", "ok", 0),)),
    "huge": Expected(tasks=(("tasks.measure", "ok", 0),)),
    "revoked": Expected(tasks=()),
    "leaves": Expected(tasks=(("tasks.leaves", "internal_error", 0),), errors=("WorkerLostError",)),
}
"""Other ways to send and to end a task."""

WAYS = {
    "threads": ("--pool", "threads"),
    "solo": ("--pool", "solo"),
    "launcher": (),
}
"""Other ways to run the same cases -> arguments of the worker."""


@contextmanager
def worked(valkey: Valkey, folder: Path, cases: dict[str, Expected], way: str = "setup") -> Iterator[Outcome]:
    """Send the cases from one process, let a worker do them, and end the worker by SIGTERM."""
    launcher = way == "launcher"
    text = (ROOT / "config/production.yaml").read_text()
    text = text.replace("    instrumentation:\n", "    instrumentation:\n      celery_beat_monitors: true\n")
    (folder / "telemetry.yaml").write_text(text)
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        env = environment_of(
            ingest,
            receiver,
            valkey.url,
            OTEL_CONFIG_FILE=str(folder / "telemetry.yaml"),
            QUEUE=f"celery-{way}",
            SCHEDULE=str(folder / "schedule"),
            SETUP=way,
        )
        outcome = Outcome(library="celery", ingest=ingest, receiver=receiver)
        arguments = WAYS.get(way, ())
        with celery_worker("tests.apps.celery_tasks", env, *arguments, launcher=launcher, cwd=folder) as worker:
            command = [PROGRAMS / "opentelemetry-instrument", PROGRAMS / "python", APP] if launcher else [APP]
            done = run_python(command[0], env, pythonpath=[ROOT], arguments=[*map(str, command[1:]), *cases])
            assert done.returncode == 0, done.stderr
            count = len(cases) + sum(len(each.tasks) for each in cases.values())
            receiver.wait_for(
                lambda _: sum(s.kind in ("internal", "server", "consumer") for s in receiver.spans) >= count
            )
            worker.terminate(20)
            outcome.output = worker.output
        assert "brain_otel failed" not in outcome.output + done.stderr
        assert ingest.rejected == []
        outcome.read(cases)
        yield outcome


@pytest.fixture(scope="module")
def outcome(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """A worker with two processes, each for four tasks at most."""
    with worked(valkey, tmp_path_factory.mktemp("celery"), CASES) as found:
        yield found


@pytest.mark.parametrize("case", CASES)
def test_a_task_is_a_transaction_below_its_message(outcome: Outcome, case: str) -> None:
    """With the queue's facts, and its error as one event."""
    outcome.check(case, CASES[case])


def test_arguments_are_masked_by_name(outcome: Outcome) -> None:
    """Given by name or by place, in the event, its log record and nowhere else."""
    outcome.check_arguments("tasks.send_mail", [{"to": "bob", "password": "[Filtered]"}] * 3)


def test_the_brokers_commands_are_no_spans(outcome: Outcome) -> None:
    """Of the sender, the worker's loop, the results and their retrieval; those of a task's own client are."""
    outcome.check_commands()


def test_every_process_is_set_up_and_ends_with_what_it_has(outcome: Outcome) -> None:
    """A process takes four tasks: each ended by itself, or with the worker, and all transactions are there."""
    processes = {span.resource["service.instance.id"] for span in outcome.receiver.spans}
    assert len(processes) >= 3
    assert outcome.output.count("Sentry initialized") <= 1


def test_an_entry_of_beat_is_a_monitor(outcome: Outcome) -> None:
    """Its check-ins come from two processes, in the trace of the task; a retry ends it with its last run."""
    found = [item.json for item in outcome.ingest.items("check_in")]
    assert statuses(found) == {
        "nightly-sum": ["in_progress", "ok"],
        "nightly-mail": ["in_progress", "error"],
        "nightly-flaky": ["in_progress", "ok"],
    }
    assert {json.dumps(each["monitor_config"], sort_keys=True) for each in found} == {
        '{"schedule": {"type": "crontab", "value": "0 3 * * *"}, "timezone": "UTC"}'
    }
    ours = {each["contexts"]["trace"]["trace_id"] for each in found}
    assert ours == {outcome.traces[case][0]["contexts"]["trace"]["trace_id"] for case in CASES if "due" in case}


@pytest.mark.thorough
@pytest.mark.parametrize("way", WAYS)
def test_pools_and_the_launcher_see_the_same(way: str, valkey: Valkey, tmp_path: Path) -> None:
    """Threads, the worker's own thread, and `opentelemetry-instrument celery worker`."""
    with worked(valkey, tmp_path, CASES, way) as outcome:
        for case, expected in CASES.items():
            outcome.check(case, expected)


@pytest.mark.thorough
def test_a_task_whose_process_ends_is_one_event(valkey: Valkey, tmp_path: Path) -> None:
    """Killed, or stopped for its time limit; the event is in the trace of the request that sent the task."""
    with worked(valkey, tmp_path, LOST, "lost") as outcome:
        assert {case: tuple(outcome.errors_of(case)) for case in LOST} == {
            case: expected.errors for case, expected in LOST.items()
        }
        assert len(outcome.ingest.events) == len(LOST)


@pytest.mark.thorough
def test_other_ways_to_send_and_to_end_a_task(valkey: Valkey, tmp_path: Path) -> None:
    with worked(valkey, tmp_path, MORE, "more") as outcome:
        for case, expected in MORE.items():
            outcome.check(case, expected)
