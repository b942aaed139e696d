"""arq: a job is a local root, and enqueueing it a span of the sender.

A message of arq has no headers. It is a mapping that workers read by its keys, so ours are under one key more, which
workers without this package do not look at.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import pickle
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import WeakSet

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.arguments import text_of
from brain_otel.events.listeners import local_trace_entered
from brain_otel.instrumentation.jobs.quiet_calls import quiet_calls, quietened, quietened_awaitable
from brain_otel.instrumentation.jobs.task import Publication, Task, TaskRun, arguments_by_name, write_headers
from brain_otel.runtime.context import holding
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.traces.local_trace import LocalTrace

_KEY = "brain_otel"
"""The key of a message under which its headers are."""


class _Job:
    """A job that a worker has taken from the queue."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.trace = LocalTrace(kind="transaction")
        self.headers: Mapping[str, Any] = {}


_job: ContextVar[_Job | None] = ContextVar("brain_otel.arq.job", default=None)
_is_publishing: ContextVar[bool] = ContextVar("brain_otel.arq.is_publishing", default=False)


class ArqInstrumentation:
    """Observes workers, jobs and messages."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._workers: WeakSet[Any] = WeakSet()

    def instrument(self, settings: InstrumentationSettings) -> None:  # noqa: ARG002
        """Begin with the next message and job."""
        replace = self._patches.replace_when_imported
        replace("arq.connections", "ArqRedis", "enqueue_job", _enqueue_job)
        replace("arq.connections", "", "serialize_job", _serialize_job)
        replace("arq.connections", "ArqRedis", "ping", quietened_awaitable)  # of `create_pool`
        for name in ("result", "result_info", "info", "status", "abort"):
            replace("arq.jobs", "Job", name, quietened)
        for name in ("main", "close"):
            replace("arq.worker", "Worker", name, quietened)
        replace("arq.worker", "Worker", "run_job", replacement(self._run_job))
        replace("arq.worker", "", "deserialize_job_raw", _deserialize_job)

    def uninstrument(self) -> None:
        """Leave arq as it was found, but for the workers that run: they call on."""
        self._patches.undo()

    async def _run_job(self, original: Original, /, worker: Any, *args: Any, **kwargs: Any) -> Any:
        with guarded("observing the functions of a worker"):
            if worker not in self._workers:
                self._workers.add(worker)
                # The worker's own mapping; its functions are the application's, so they are copied.
                worker.functions = {name: _observed(name, each) for name, each in worker.functions.items()}
        job = _Job(worker)
        # arq logs what a job raises here, outside of the task that runs it.
        with holding(_job, job), local_trace_entered(job.trace), quiet_calls():
            return await original(worker, *args, **kwargs)


def _observed(name: str, function: Any) -> Any:
    """A copy of a worker's function or cron job that runs as a task."""
    original = function.coroutine

    @functools.wraps(original)
    async def coroutine(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        run = None
        with guarded("starting a job's span"):
            run = _start(name, ctx)
        if run is None:
            return await original(ctx, *args, **kwargs)
        try:
            result = await original(ctx, *args, **kwargs)
        except BaseException as error:
            with guarded("ending a job"):
                arguments = partial(arguments_by_name, original, (ctx, *args), kwargs)
                _end(run, error, arguments)
            raise
        run.end()
        return result

    return dataclasses.replace(function, coroutine=coroutine)


def _start(name: str, ctx: Mapping[str, Any]) -> TaskRun | None:
    job = _job.get()
    if job is None:
        return None
    task = Task(
        "arq",
        name,
        task_id=ctx.get("job_id"),
        retries=ctx.get("job_try", 1) - 1,
        system="redis",
        destination=job.worker.queue_name,
    )
    return TaskRun(task, job.headers, job.trace)


def _end(run: TaskRun, error: BaseException, arguments: Callable[[], dict[str, Any]]) -> None:
    from arq.worker import Retry, RetryJob

    job = _job.get()
    is_retried = isinstance(error, (Retry, RetryJob)) and (job is None or job.worker.retry_jobs)
    if is_retried or isinstance(error, asyncio.CancelledError):
        run.end(None if is_retried else error)
        return
    if isinstance(error, Exception):
        run.fail(error, lambda: {key: value for key, value in arguments().items() if key not in ("ctx", "0")})
    run.end(error)


@replacement
async def _enqueue_job(original: Original, /, redis: Any, function: str, *args: Any, **kwargs: Any) -> Any:
    with Publication(partial(_sent, redis, function, kwargs)) as publication:
        with holding(_is_publishing, True):
            job = await original(redis, function, *args, **kwargs)
        with guarded("describing a job's message"):
            if publication.task is not None:
                publication.task.task_id = getattr(job, "job_id", None)
                publication.describe(publication.task)
        return job


def _sent(redis: Any, function: Any, kwargs: Mapping[str, Any]) -> Task:
    queue = kwargs.get("_queue_name") or redis.default_queue_name
    return Task("arq", function, system="redis", destination=text_of(queue))


@replacement
def _serialize_job(original: Original, /, *args: Any, serializer: Any = None, **kwargs: Any) -> Any:
    if not _is_publishing.get():
        return original(*args, serializer=serializer, **kwargs)
    headers: dict[str, Any] = {}
    with guarded("writing trace headers on a job's message"):
        write_headers(headers)

    def serialize(data: Any) -> Any:
        return (serializer or pickle.dumps)({**data, _KEY: headers} if headers else data)

    return original(*args, serializer=serialize, **kwargs)


@replacement
def _deserialize_job(original: Original, text: Any, *, deserializer: Any = None) -> Any:
    job = _job.get()
    if job is None:
        return original(text, deserializer=deserializer)

    def deserialize(given: Any) -> Any:
        data = (deserializer or pickle.loads)(given)
        headers = data.get(_KEY) if isinstance(data, dict) else None
        job.headers = headers if isinstance(headers, dict) else {}
        return data

    return original(text, deserializer=deserialize)
