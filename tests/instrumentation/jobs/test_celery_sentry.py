"""Workers and senders that have sentry-sdk's integration of Celery alone continue our traces, and we theirs."""

from pathlib import Path

import pytest

from tests.instrumentation.jobs.outcome import Json
from tests.instrumentation.jobs.test_celery_workers import environment_for
from tests.support import ROOT
from tests.support.check_ins import statuses
from tests.support.ingest import SentryIngest
from tests.support.process import run_python
from tests.support.services import Valkey
from tests.support.waiting import until
from tests.support.workers import celery_worker

pytestmark = pytest.mark.thorough

OURS, THEIRS = ROOT / "tests/apps/celery_tasks.py", ROOT / "tests/apps/celery_sentry.py"


def transactions_of(ingest: SentryIngest, sender: Path, worker: str, env: dict[str, str], folder: Path) -> list[Json]:
    """The transactions of a task that `sender` sends to `worker`, by the order of their start."""
    with celery_worker(worker, env, "--pool", "solo", cwd=folder) as running:
        done = run_python(sender, env, pythonpath=[ROOT], arguments=["add", "due"] if sender == OURS else [])
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
    found = transactions_of(ingest, OURS, "tests.apps.celery_sentry", env, tmp_path)
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
