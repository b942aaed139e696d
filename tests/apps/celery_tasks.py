"""Tasks of Celery, and a sender: `python celery_tasks.py` makes one transaction for each case."""

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from celery import Celery, chord, group
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import Ignore, Reject
from celery.schedules import crontab
from celery.signals import before_task_publish
from kombu.exceptions import OperationalError

import brain_otel

if os.environ.get("SETUP") != "launcher":
    brain_otel.setup()

BROKER = os.environ["BROKER"]

app = Celery("tasks", broker=BROKER, backend=os.environ.get("BACKEND", BROKER), set_as_current=False)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("QUEUE", "celery"),
    worker_concurrency=int(os.environ.get("CONCURRENCY", "2")),
    worker_max_tasks_per_child=int(os.environ.get("MAX_TASKS", "4")),
    task_track_started=True,
    beat_schedule_filename=os.environ.get("SCHEDULE", "schedule"),
    beat_schedule={"heart": {"task": "tasks.beat", "schedule": timedelta(seconds=0.5)}},
)


class UnpicklableError(Exception):
    """Cannot be pickled, so Celery stores a copy."""

    def __init__(self, text: str, *, needed: Any) -> None:
        super().__init__(text)
        self.needed = needed


class ExpectedError(Exception):
    """One that its task declares."""


@app.task(name="tasks.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="tasks.add_quietly", ignore_result=True)
def add_quietly(a: int, b: int) -> int:
    return a + b


@app.task(name="tasks.beat", ignore_result=True)
def beat() -> None:
    pass


@app.task(name="tasks.send_mail")
def send_mail(to: str, password: str) -> None:
    raise RuntimeError(f"no mail for {to}")


@app.task(name="tasks.flaky", bind=True, max_retries=2)
def flaky(self: Any, succeeds: bool) -> int:
    if self.request.retries == 0 or not succeeds:
        raise self.retry(exc=ValueError("still flaky"), countdown=0.01)
    return int(self.request.retries)


@app.task(name="tasks.ignored")
def ignored() -> None:
    raise Ignore


@app.task(name="tasks.rejected", acks_late=True)
def rejected() -> None:
    raise Reject("no", requeue=False)


@app.task(name="tasks.expected", throws=(ExpectedError,))
def expected() -> None:
    raise ExpectedError("as declared")


@app.task(name="tasks.unpicklable")
def unpicklable() -> None:
    raise UnpicklableError("no copy", needed=1)


@app.task(name="tasks.counted")
def counted() -> int:
    with redis.Redis.from_url(BROKER) as client:
        return int(client.incr("celery_tasks.counted"))


@app.task(name="tasks.captures", ignore_result=True)
def captures(number: int) -> None:
    """Capture an event, and write its id down once it has been captured."""
    event_id = brain_otel.capture_message(f"captured {number}", level="error")
    with open(os.environ["IDS"], "a") as file:  # noqa: PTH123
        file.write(f"{event_id}\n")


@app.task(name="tasks.lost")
def lost() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="tasks.slow", time_limit=1)
def slow() -> None:
    while True:
        signal.pause()


@app.task(name="tasks.leaves")
def leaves() -> None:
    sys.exit(3)


@app.task(name="tasks.soft", soft_time_limit=1)
def soft() -> None:
    while True:
        signal.pause()


@app.task(name="tasks.limited", rate_limit="20/s")
def limited() -> int:
    return 1


@app.task(name="tasks.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="tasks.measure")
def measure(text: str) -> int:
    return len(text)


def revoked() -> None:
    result = add.apply_async((1, 2), countdown=0.5)
    result.revoke()
    result.get(timeout=60, propagate=False)


CASES = {
    "leaves": lambda: leaves.delay().get(timeout=60, propagate=False),
    "soft": lambda: soft.delay().get(timeout=60, propagate=False),
    "limited": lambda: group(limited.s(), limited.s())().get(timeout=60),
    "group": lambda: group(add.s(1, 1), add.s(2, 2)).delay().get(timeout=60),
    "chord": lambda: chord([add.s(1, 1), add.s(2, 2)])(total.s()).get(timeout=60),
    "countdown": lambda: add.apply_async((1, 2), countdown=0.3).get(timeout=60),
    "eta": lambda: add.apply_async((1, 2), eta=datetime.now(UTC) + timedelta(seconds=0.3)).get(timeout=60),
    "huge": lambda: measure.delay("x" * 1_000_000).get(timeout=60),
    "revoked": revoked,
    "add": lambda: add.delay(1, 2).get(timeout=60),
    "by name": lambda: app.send_task("tasks.add", (1, 2)).get(timeout=60),
    "quiet": lambda: add_quietly.delay(1, 2),
    "chain": lambda: (add.s(1, 1) | add.s(2)).apply_async().get(timeout=60),
    "fails": lambda: send_mail.apply_async(("bob",), {"password": "hunter2"}).get(timeout=60, propagate=False),
    "by place": lambda: send_mail.delay("bob", "hunter2").get(timeout=60, propagate=False),
    "flaky": lambda: flaky.delay(True).get(timeout=60),
    "flaky for good": lambda: flaky.delay(False).get(timeout=60, propagate=False),
    "ignored": lambda: ignored.delay(),
    "rejected": lambda: rejected.delay(),
    "expected": lambda: expected.delay().get(timeout=60, propagate=False),
    "unpicklable": lambda: unpicklable.delay().get(timeout=60, propagate=False),
    "counted": lambda: counted.delay().get(timeout=60),
    "eager": lambda: send_mail.apply(("eva", "hunter2")),
    "due": lambda: due("nightly sum", add, 1, 2),
    "due, fails": lambda: due("nightly mail", send_mail, "bob", "hunter2"),
    "due, flaky": lambda: due("nightly flaky", flaky, True),
    "no broker": lambda: without_broker(),
    "lost": lambda: lost.delay().get(timeout=60, propagate=False),
    "slow": lambda: slow.delay().get(timeout=60, propagate=False),
}


def due(name: str, task: Any, *args: Any) -> None:
    """Send a task as beat does when it is due, and wait for it."""
    entry = ScheduleEntry(name=name, task=task.name, args=args, schedule=crontab(minute=0, hour=3), app=app)
    sent: list[str] = []
    before_task_publish.connect(lambda headers=None, **_: sent.append(headers["id"]), weak=False, dispatch_uid="due")
    Scheduler(app, lazy=True).apply_entry(entry, producer=None)
    before_task_publish.disconnect(dispatch_uid="due")
    app.AsyncResult(sent[0]).get(timeout=60, propagate=False)


def without_broker() -> None:
    away = Celery("away", broker="amqp://127.0.0.1:1", set_as_current=False)
    try:
        away.send_task("tasks.add", (1, 2), retry=False)
    except OperationalError:
        return
    raise AssertionError("the message was sent")


def burst(requests: int) -> None:
    """Send ten tasks from each of many requests."""
    for number in range(requests):
        with brain_otel.start_transaction(f"request {number}", op="http.server"):
            for task in range(10):
                add_quietly.delay(number, task)


def main(names: list[str]) -> None:
    if names[:1] == ["burst"]:
        burst(int(names[1]))
        return
    if names[:1] == ["captures"]:
        for number in range(int(names[1])):
            captures.delay(number)
        return
    for name in names or list(CASES):
        with brain_otel.start_transaction(name, op="http.server"):
            CASES[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
