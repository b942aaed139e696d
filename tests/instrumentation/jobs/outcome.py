"""What a sender and a worker of a task queue sent."""

import json
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import PROGRAMS, run_python
from tests.support.relay import assert_accepted
from tests.support.waiting import until
from tests.support.workers import Worker

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a case makes: its tasks in order, each with its status and retries, and the classes of its errors."""

    tasks: tuple[tuple[str, str, int], ...]
    errors: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    """Ops of the spans of tasks that are no messages."""
    is_local: bool = False
    """Whether the tasks run where they are asked for."""


def environment_of(ingest: SentryIngest, receiver: OtlpReceiver, broker: str, **more: str) -> dict[str, str]:
    """Name the variables with which a sender and a worker send everything to both receivers."""
    return {
        "SENTRY_DSN": ingest.dsn,
        "SENTRY_ENVIRONMENT": "production",
        "SENTRY_TRACES_SAMPLE_RATE": "1.0",
        "SENTRY_PROFILES_SAMPLE_RATE": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "BROKER": broker,
        **more,
    }


@contextmanager
def worked(
    library: str,
    app: Path,
    broker: str,
    cases: Mapping[str, Expected],
    start_worker: Callable[..., Worker],
    *,
    launcher: bool = False,
) -> Iterator["Outcome"]:
    """Send the cases from one process, let a worker do them, and end the worker by SIGTERM."""
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        outcome = Outcome(library=library, ingest=ingest, receiver=receiver)
        env = environment_of(ingest, receiver, broker, SETUP="launcher" if launcher else "setup")
        command = [PROGRAMS / "opentelemetry-instrument", PROGRAMS / "python", app] if launcher else [app]
        with start_worker(env, launcher=launcher) as worker:
            done = run_python(command[0], env, pythonpath=[ROOT], arguments=[*map(str, command[1:]), *cases])
            assert done.returncode == 0, done.stderr
            count = sum(len(each.tasks) for each in cases.values())
            receiver.wait_for(lambda _: sum(span.kind == "consumer" for span in receiver.spans) >= count)
            end(worker)
            outcome.output = worker.output
        assert "brain_otel failed" not in outcome.output + done.stderr
        assert ingest.rejected == []
        outcome.read(cases)
        yield outcome


def end(worker: Worker) -> None:
    """Send SIGTERM until the worker ends: arq has been seen to say that it shuts down, and to go on."""
    for _ in range(20):
        os.kill(worker.pid, signal.SIGTERM)
        with suppress(AssertionError):
            until(lambda: worker.returncode is not None, timeout=5.0)
            return
    raise AssertionError(f"still running:\n{worker.output}")


@dataclass(kw_only=True)
class Outcome:
    """The transactions and events of a run, by case: each case is one trace."""

    library: str
    ingest: SentryIngest
    receiver: OtlpReceiver
    output: str = ""
    traces: dict[str, list[Json]] = field(default_factory=dict)

    def read(self, cases: Collection[str]) -> None:
        """Take what has arrived."""
        by_id: dict[str, list[Json]] = {}
        for each in sorted(self.ingest.transactions, key=lambda each: float(each["start_timestamp"])):
            by_id.setdefault(each["contexts"]["trace"]["trace_id"], []).append(each)
        self.traces = {found[0]["transaction"]: found for found in by_id.values() if found[0]["transaction"] in cases}

    def check(self, case: str, expected: Expected) -> None:
        """Compare the trace of `case` with what is expected; each task is a child of its message."""
        root, *tasks = self.traces[case]
        messages = {span["span_id"]: span for each in (root, *tasks) for span in each["spans"] if is_message(span)}
        found = []
        for task in tasks:
            trace = task["contexts"]["trace"]
            assert (trace["op"], trace["origin"]) == ("queue.task", f"auto.queue.otel.{self.library}")
            assert task["transaction_info"]["source"] == "task"
            assert task["tags"] == {f"{self.library}_task_id": trace["data"]["messaging.message.id"]}
            assert trace["data"]["messaging.operation.type"] == "process"
            assert trace["data"]["messaging.system"] == "redis"
            if not expected.is_local:
                message = messages[trace["parent_span_id"]]
                assert message["description"] == task["transaction"]
                for name in ("messaging.message.id", "messaging.destination.name"):
                    assert message["data"][name] == trace["data"][name]
                assert 0 <= trace["data"]["messaging.message.receive.latency"] < 60_000
            found.append((task["transaction"], trace["status"], trace["data"]["messaging.message.retry.count"]))
            assert_accepted(task)
        assert tuple(found) == expected.tasks
        assert all(span["data"]["messaging.operation.type"] == "send" for span in messages.values())
        assert tuple(s["op"] for each in tasks for s in each["spans"] if not is_message(s)) == expected.calls
        assert tuple(self.errors_of(case)) == expected.errors

    def errors_of(self, case: str) -> list[str]:
        """The classes of the errors of `case`; each names its task, by the mechanism of its library."""
        root = self.traces[case][0]
        found = []
        for event in self.ingest.events:
            if event["contexts"]["trace"]["trace_id"] == root["contexts"]["trace"]["trace_id"]:
                error = event["exception"]["values"][-1]
                assert error["mechanism"] == {"type": self.library, "handled": False}
                assert event["transaction"] == event["contexts"]["extra"]["brain_otel.task.name"]
                assert event["tags"][f"{self.library}_task_id"] == event["contexts"]["extra"]["brain_otel.task.id"]
                assert_accepted(event)
                found.append(error["type"])
        return found

    def check_arguments(self, task: str, expected: list[Json]) -> None:
        """Check the arguments in the error events of ``task``; what they mask is nowhere else."""
        found = [
            event["contexts"]["extra"]["brain_otel.task.arguments"]
            for event in self.ingest.events
            if event["transaction"] == task
        ]
        assert found == expected
        assert "hunter2" not in self.sent()
        assert "hunter2" not in str([*self.receiver.spans, *self.receiver.log_records])

    def check_commands(self) -> None:
        """Check that the one command of a task's own Redis client is the only one with a span."""
        assert kinds_of(self.receiver, lambda span: (span.kind, span.attributes.get("db.system.name"))) == {
            ("server", None),
            ("producer", None),
            ("consumer", None),
            ("client", "redis"),
        }
        assert [span.name.partition(" ")[0] for span in self.receiver.spans if span.kind == "client"] == ["INCRBY"]

    def sent(self) -> str:
        """Everything that has left, as text."""
        return json.dumps([item.json for item in self.ingest.items()])


def is_message(span: Json) -> bool:
    """Whether a span sends a message."""
    return bool(span["op"] == "queue.publish")


def kinds_of(receiver: OtlpReceiver, key: Callable[[Any], Any]) -> set[Any]:
    """What `key` says of all spans that arrived by OTLP."""
    return {key(span) for span in receiver.spans}
