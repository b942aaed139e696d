"""Many tasks over several processes, a worker that is killed, and one that has sentry-sdk alone."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from brain_otel.delivery.spool.shipper import drain
from tests.instrumentation.jobs.outcome import Json
from tests.support import ROOT
from tests.support.check_ins import statuses
from tests.support.ingest import SentryIngest
from tests.support.process import PROGRAMS, run_python
from tests.support.services import Valkey
from tests.support.waiting import until
from tests.support.workers import Worker, celery_worker

APP, THEIRS = ROOT / "tests/apps/celery_tasks.py", ROOT / "tests/apps/celery_sentry.py"

pytestmark = pytest.mark.thorough


def environment_for(ingest: SentryIngest, valkey: Valkey, **more: str) -> dict[str, str]:
    return {
        "SENTRY_DSN": ingest.dsn,
        "SENTRY_ENVIRONMENT": "production",
        "SENTRY_TRACES_SAMPLE_RATE": "1.0",
        "SENTRY_PROFILES_SAMPLE_RATE": "0",
        "BROKER": valkey.url,
        "CONCURRENCY": "4",
        **more,
    }


def send(requests: int, env: dict[str, str]) -> None:
    done = run_python(APP, env, pythonpath=[ROOT], arguments=["burst", str(requests)])
    assert done.returncode == 0, done.stderr


def ids_of(transaction: Json) -> tuple[str, str]:
    trace = transaction["contexts"]["trace"]
    return trace["trace_id"], trace["parent_span_id"]


def test_a_thousand_tasks_are_a_thousand_transactions(ingest: SentryIngest, valkey: Valkey, tmp_path: Path) -> None:
    """Over four processes, which are replaced meanwhile; each is a child of the message of its request."""
    env = environment_for(ingest, valkey, QUEUE="thousand", MAX_TASKS="100")
    with celery_worker("tests.apps.celery_tasks", env, cwd=tmp_path) as worker:
        send(100, env)
        until(lambda: worker.output.count(" succeeded in ") >= 1_000)
        worker.terminate(20)
    requests = [each for each in ingest.transactions if each["transaction"].startswith("request ")]
    tasks = [each for each in ingest.transactions if each["transaction"] == "tasks.add_quietly"]
    messages = {(span["trace_id"], span["span_id"]) for each in requests for span in each["spans"]}
    assert (len(requests), len(tasks), len(messages)) == (100, 1_000, 1_000)
    assert {ids_of(each) for each in tasks} == messages
    assert len({each["contexts"]["trace"]["data"]["messaging.message.id"] for each in tasks}) == 1_000
    assert len(ingest.transactions) == 1_100
    assert ingest.rejected == []


def test_what_a_killed_worker_has_captured_arrives(ingest: SentryIngest, valkey: Valkey, tmp_path: Path) -> None:
    """With a spool: `kill -9` for all its processes in the middle of tasks, while Sentry does not answer."""
    ids, spool = tmp_path / "ids", tmp_path / "spool"
    ingest.respond = lambda: (503, {})
    env = environment_for(
        ingest, valkey, QUEUE="killed", MAX_TASKS="1000", IDS=str(ids), BRAIN_OTEL_SPOOL_DIR=str(spool)
    )
    with celery_worker("tests.apps.celery_tasks", env, cwd=tmp_path) as worker, ThreadPoolExecutor() as pool:
        sending = pool.submit(run_python, APP, env, pythonpath=[ROOT], arguments=["captures", "400"])
        until(lambda: ids.exists() and len(ids.read_text().split()) > 50)
        os.killpg(worker.pid, signal.SIGKILL)
        until(lambda: worker.returncode is not None and not worker.processes())
        assert sending.result().returncode == 0, sending.result().stderr
    captured = ids.read_text().split()
    assert len(set(captured)) == len(captured) < 400
    assert ingest.accepted == []
    ingest.respond = None
    until(lambda: drain(spool, 30.0) == {})
    arrived = [json.loads(item.payload) for each in ingest.accepted for item in each.items if item.type == "event"]
    assert set(captured) - {each["event_id"] for each in arrived} == set()
    assert len({each["event_id"] for each in arrived}) == len(arrived)
    assert {each["transaction"] for each in arrived} == {"tasks.captures"}


def transactions_of(ingest: SentryIngest, sender: Path, worker: str, env: dict[str, str], folder: Path) -> list[Json]:
    """The transactions of a task that `sender` sends to `worker`, by the order of their start."""
    with celery_worker(worker, env, "--pool", "solo", cwd=folder) as running:
        done = run_python(sender, env, pythonpath=[ROOT], arguments=["add", "due"] if sender == APP else [])
        assert done.returncode == 0, done.stderr
        until(lambda: any(each["transaction"] == "tasks.add" for each in ingest.transactions))
        running.terminate(20)
    return sorted(ingest.transactions, key=lambda each: str(each["contexts"]["trace"]["op"]))


def test_their_worker_continues_our_trace_and_ends_our_monitor(
    ingest: SentryIngest, valkey: Valkey, tmp_path: Path
) -> None:
    file = tmp_path / "telemetry.yaml"
    text = (ROOT / "config/production.yaml").read_text()
    file.write_text(
        text.replace("    instrumentation:\n", "    instrumentation:\n      celery_beat_monitors: true\n")
    )
    env = environment_for(ingest, valkey, QUEUE="for-them", OTEL_CONFIG_FILE=str(file))
    found = transactions_of(ingest, APP, "tests.apps.celery_sentry", env, tmp_path)
    messages = {
        (span["trace_id"], span["span_id"])
        for each in found
        for span in each["spans"]
        if span["op"] == "queue.publish"
    }
    tasks = [each["contexts"]["trace"] for each in found if each["transaction"] == "tasks.add"]
    assert {(each["trace_id"], each["parent_span_id"]) for each in tasks} == messages
    assert len(tasks) == len(messages) == 2
    processed = [span for each in found for span in each["spans"] if span["op"] == "queue.process"]
    assert len(processed) == 2
    assert all(0 <= span["data"]["messaging.message.receive.latency"] < 60_000 for span in processed)
    assert statuses([item.json for item in ingest.items("check_in")]) == {"nightly-sum": ["in_progress", "ok"]}


def test_our_worker_continues_their_trace(ingest: SentryIngest, valkey: Valkey, tmp_path: Path) -> None:
    env = environment_for(ingest, valkey, QUEUE="for-us")
    found = transactions_of(ingest, THEIRS, "tests.apps.celery_tasks", env, tmp_path)
    (task,) = [each["contexts"]["trace"] for each in found if each["transaction"] == "tasks.add"]
    (request,) = [each for each in found if each["transaction"] == "their request"]
    assert task["trace_id"] == request["contexts"]["trace"]["trace_id"]
    assert task["parent_span_id"] in {span["span_id"] for span in request["spans"]}
    assert 0 <= task["data"]["messaging.message.receive.latency"] < 60_000


BEAT = """
from datetime import timedelta
from celery.beat import PersistentScheduler
from celery.schedules import crontab
from tests.apps.celery_tasks import app, beat
app.conf.beat_schedule = {
    "every minute": {"task": "tasks.add", "schedule": timedelta(minutes=1), "args": (1, 2)},
    "failing": {"task": "tasks.send_mail", "schedule": crontab(minute=0, hour=3), "args": ("bob", "hunter2")},
    "often": {"task": "tasks.beat", "schedule": timedelta(seconds=0.2)},
}
"""

DUE = """
scheduler = PersistentScheduler(app, schedule_filename=app.conf.beat_schedule_filename)
for entry in scheduler.schedule.values():
    entry.last_run_at -= timedelta(days=2)
scheduler.close()
"""


def test_a_real_beat_checks_in_and_the_worker_ends_it(ingest: SentryIngest, valkey: Valkey, tmp_path: Path) -> None:
    """Beat is a process of its own, which finds in its file that all entries are due; one has no monitor."""
    file = tmp_path / "telemetry.yaml"
    text = (ROOT / "config/production.yaml").read_text()
    file.write_text(
        text.replace("    instrumentation:\n", "    instrumentation:\n      celery_beat_monitors: true\n")
    )
    (tmp_path / "beating.py").write_text(BEAT)
    schedule = str(tmp_path / "schedule")
    env = environment_for(ingest, valkey, QUEUE="beat", OTEL_CONFIG_FILE=str(file), SCHEDULE=schedule)
    done = run_python(BEAT + DUE, env, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    with celery_worker("tests.apps.celery_tasks", env, "--pool", "solo", cwd=tmp_path) as worker:
        command = [str(PROGRAMS / "celery"), "-A", "beating", "beat", "--loglevel", "INFO"]
        with Worker(command, "beat: Starting", env=env, pythonpath=[ROOT, tmp_path], cwd=tmp_path) as beat:
            until(lambda: worker.output.count("tasks.add[") >= 2 and "tasks.send_mail[" in worker.output)
            beat.terminate(20)
            assert beat.output.count("The beat entry 'often' is no monitor") == 1
        worker.terminate(20)
    found = statuses([item.json for item in ingest.items("check_in")])
    assert found == {"every-minute": ["in_progress", "ok"], "failing": ["in_progress", "error"]}
    tasks = [each for each in ingest.transactions if each["transaction"] == "tasks.add"]
    assert len(tasks) == 1
    traces = {item.json["contexts"]["trace"]["trace_id"] for item in ingest.items("check_in")}
    assert tasks[0]["contexts"]["trace"]["trace_id"] in traces
    assert "hunter2" not in json.dumps([item.json for item in ingest.items()])
