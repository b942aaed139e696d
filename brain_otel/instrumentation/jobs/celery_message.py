"""What a message of Celery says about its task, and the broker it goes through."""

import functools
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from brain_otel.instrumentation.jobs.celery_beat import MONITOR
from brain_otel.instrumentation.jobs.task import SENT_AT, Task
from brain_otel.runtime.guard import guarded

_SYSTEMS = {
    **dict.fromkeys(("amqp", "amqps", "pyamqp", "librabbitmq"), "rabbitmq"),
    **dict.fromkeys(("redis", "rediss", "sentinel", "valkey"), "redis"),
    "sqs": "aws_sqs",
    "gcpubsub": "gcp_pubsub",
    "azureservicebus": "servicebus",
    "confluentkafka": "kafka",
}
"""Scheme of a broker's address -> the registry's name of the system, if it is another one."""


def task_of(task: Any, task_id: Any, message: Mapping[str, Any]) -> Task:
    """The run of ``task`` that ``message`` asks for, a request as a mapping."""
    delivery = message.get("delivery_info") or {}
    return Task(
        "celery",
        task.name,
        task_id=task_id,
        retries=message.get("retries"),
        system=system_of(task.app),
        destination=destination_of(delivery.get("exchange"), delivery.get("routing_key")),
    )


def headers_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of a message; sentry-sdk writes its own into inner ones, which may be anything."""
    inner = message.get("headers")
    return {**inner, **message} if isinstance(inner, Mapping) else {**message}


def write_inner_headers(headers: dict[str, Any]) -> None:
    """Repeat among the inner headers what sentry-sdk's workers look for there, and nowhere else."""
    inner = headers.get("headers")
    if inner is not None and not isinstance(inner, Mapping):
        return
    found = {name: value for name, value in (inner or {}).items() if not _is_for_sentry(name)}
    if "sentry-trace" in headers:
        found |= {name: value for name, value in headers.items() if _is_for_sentry(name)}
    if found or inner:
        headers["headers"] = found


def _is_for_sentry(name: Any) -> bool:
    return isinstance(name, str) and (name in ("sentry-trace", "baggage", SENT_AT) or name.startswith(MONITOR))


def destination_of(exchange: Any, routing_key: Any) -> str | None:
    """The queue: messages of the default exchange go to the queue that their routing key names."""
    name = getattr(exchange, "name", exchange) or routing_key
    return str(name) if name else None


def system_of(app: Any) -> str | None:
    """The registry's name of the broker of ``app``."""
    with guarded("naming a task's broker"):
        return _system(str(app.conf.broker_write_url or app.conf.broker_url or "amqp"))
    return None


@functools.lru_cache(maxsize=64)
def _system(address: str) -> str:
    scheme = urlsplit(address.strip("[]'\"")).scheme.partition("+")[0] or "amqp"
    return _SYSTEMS.get(scheme, scheme)
