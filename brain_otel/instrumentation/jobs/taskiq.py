"""taskiq: a task is a local root, and kicking it a span of the sender. The headers are labels of the message."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from typing import Any

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.jobs.quiet_calls import quietened
from brain_otel.instrumentation.jobs.task import Publication, Task, TaskRun, arguments_by_name, write_headers
from brain_otel.runtime.context import holding
from brain_otel.runtime.context_decorator import within
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement

_SYSTEMS = {
    "taskiq_redis": "redis",
    "taskiq_aio_pika": "rabbitmq",
    "taskiq_nats": "nats",
    "taskiq_aio_kafka": "kafka",
    "taskiq_aio_sqs": "aws_sqs",
}
"""Package of a broker's class -> the system."""

_RETRIES = "_retries"
"""The label in which taskiq's retry middlewares count."""


_running: ContextVar[TaskRun | None] = ContextVar("brain_otel.taskiq.running", default=None)


class TaskiqInstrumentation:
    """Observes receivers, tasks and messages."""

    def __init__(self) -> None:
        self._patches = Patches()

    def instrument(self, settings: InstrumentationSettings) -> None:  # noqa: ARG002
        """Begin with the next message and task."""
        replace = self._patches.replace_when_imported
        replace("taskiq.kicker", "AsyncKicker", "kiq", _kiq)
        replace("taskiq.kicker", "AsyncKicker", "schedule_by_time", _schedule)
        for name in ("is_ready", "get_result", "wait_result", "get_progress"):
            replace("taskiq.task", "AsyncTaskiqTask", name, quietened)
        for name in ("listen", "callback"):
            replace("taskiq.receiver.receiver", "Receiver", name, quietened)
        replace("taskiq.receiver.receiver", "Receiver", "run_task", _run_task)

    def uninstrument(self) -> None:
        """Leave taskiq as it was found."""
        self._patches.undo()


@replacement
async def _kiq(original: Original, /, kicker: Any, *args: Any, **kwargs: Any) -> Any:
    _note_sending(kicker)
    with Publication(lambda: _task(kicker.task_name, None, kicker.labels, kicker.broker)) as publication:
        message = kicker
        with guarded("writing trace headers on a task's message"):
            labels = dict(kicker.labels)
            write_headers(labels)
            message = copy.copy(kicker)
            message.labels = labels
        sent = await original(message, *args, **kwargs)
        with guarded("describing a task's message"):
            if publication.task is not None:
                publication.task.task_id = sent.task_id
                publication.describe(publication.task)
        return sent


@replacement
async def _schedule(original: Original, /, kicker: Any, *args: Any, **kwargs: Any) -> Any:
    _note_sending(kicker)
    return await original(kicker, *args, **kwargs)


def _note_sending(kicker: Any) -> None:
    """A middleware that sends a failed task again does so while it runs, under the same id."""
    with guarded("looking at a task that is sent"):
        running = _running.get()
        if running is not None and kicker.custom_task_id == running.task.task_id:
            running.is_sent_again = True


@replacement
async def _run_task(
    original: Original, /, receiver: Any, target: Any, message: Any, *args: Any, **kwargs: Any
) -> Any:
    running = None
    observed = target
    with guarded("starting a task's span"):
        task = _task(message.task_name, message.task_id, message.labels, receiver.broker)
        running = TaskRun(task, message.labels)
        if not receiver.is_process_pool:  # which pickles the function
            observed = within(partial(_Deferring, running), target)
    if running is None:
        return await original(receiver, target, message, *args, **kwargs)
    with holding(_running, running):
        try:
            result = await original(receiver, observed, message, *args, **kwargs)
        except BaseException as error:
            running.end(error)
            raise
    with guarded("ending a task"):
        _end(running, result.error, partial(arguments_by_name, target, message.args, message.kwargs))
    return result


class _Deferring(AbstractContextManager[object]):
    """Defers the exception that leaves the block: a middleware may send the task again after taskiq's log line."""

    def __init__(self, running: TaskRun) -> None:
        self._running = running

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, Exception):
            self._running.defer(error)


def _end(running: TaskRun, error: BaseException | None, arguments: Callable[[], dict[str, Any]]) -> None:
    from taskiq.exceptions import NoResultError, TaskRejectedError

    is_expected = running.is_sent_again or isinstance(error, (NoResultError, TaskRejectedError))
    if isinstance(error, Exception) and not is_expected:
        running.fail(error, arguments)
    running.end(None if is_expected else error)


def _task(name: str, task_id: str | None, labels: Any, broker: Any) -> Task:
    names = (labels.get("queue_name"), getattr(broker, "queue_name", None), "taskiq")
    return Task(
        "taskiq",
        name,
        task_id=task_id,
        retries=labels.get(_RETRIES),
        system=_SYSTEMS.get(type(broker).__module__.partition(".")[0]),
        destination=next(each for each in names if isinstance(each, str) and each),
    )
