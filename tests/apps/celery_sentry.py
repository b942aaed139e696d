"""A worker and a sender of Celery that have sentry-sdk alone: `python celery_sentry.py` sends one task and waits."""

import os
import sys
from typing import Any

import sentry_sdk
from celery import Celery
from sentry_sdk.integrations.celery import CeleryIntegration

sentry_sdk.init(
    dsn=os.environ["SENTRY_DSN"],
    traces_sample_rate=1.0,
    integrations=[CeleryIntegration(monitor_beat_tasks=True)],
    shutdown_timeout=5,
)

BROKER = os.environ["BROKER"]

app = Celery("tasks", broker=BROKER, backend=BROKER, set_as_current=False)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ["QUEUE"],
    worker_pool="solo",
)


@app.task(name="tasks.add")
def add(a: int, b: int) -> int:
    return a + b


def main() -> None:
    with sentry_sdk.start_transaction(name="their request", op="http.server"):
        sent: Any = add.delay(1, 2)
        sent.get(timeout=60)


if __name__ == "__main__":
    main()
    sys.exit(0 if sentry_sdk.get_client().get_integration(CeleryIntegration) else 1)
