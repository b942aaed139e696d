"""Celery: tasks by its signals, whose receivers are found whenever a tracer was built, and messages by ``send_task``.

Contrib's instrumentation is not used. It loses a message's span, and leaves it current, when the broker cannot be
reached; it makes events for retries, and knows neither local traces nor the worker's own commands.
"""

import sys
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import FunctionType
from typing import Any
from weakref import WeakSet

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.deduplication import record_ignored
from brain_otel.instrumentation.jobs.celery_beat import apply_monitored_entry, end_monitor, write_monitor
from brain_otel.instrumentation.jobs.celery_message import (
    destination_of,
    headers_of,
    system_of,
    task_of,
    write_inner_headers,
)
from brain_otel.instrumentation.jobs.quiet_calls import quietened
from brain_otel.instrumentation.jobs.task import (
    Publication,
    Task,
    TaskRun,
    arguments_by_name,
    lost_task,
    report_failure,
    write_headers,
)
from brain_otel.runtime.context import holding
from brain_otel.runtime.exit import handle_sigterm, leave_process
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement, surrounding

_LOOPS = {
    "celery.worker.worker": ("WorkController", "start"),
    "celery.beat": ("Service", "start"),
    "celery.app.control": ("Control", "broadcast"),
}
"""Module -> class and method that talk to the broker all the time, or on behalf of operators."""

_running: ContextVar[TaskRun | None] = ContextVar("brain_otel.celery.running", default=None)
_lost: ContextVar[Any] = ContextVar("brain_otel.celery.lost", default=None)
"""In a worker's main process: the request whose process has ended, or was ended for its time limit."""

_publication: ContextVar[Publication | None] = ContextVar("brain_otel.celery.publication", default=None)


class CeleryInstrumentation:
    """Observes tasks, messages, workers and beat."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._backends: WeakSet[type] = WeakSet()
        self._lost_tasks: deque[str] = deque(maxlen=64)
        """The latest tasks whose process has ended: Celery may tell it twice, as a time limit and as a failure."""
        self._receivers: dict[str, Callable[..., None]] = {
            "task_prerun": _on_start,
            "task_failure": self._on_failure,
            "task_postrun": _on_end,
            "before_task_publish": _on_publish,
            "worker_process_init": _on_process_start,
            "beat_embedded_init": _on_beat_start,
            "worker_process_shutdown": _on_process_end,
        }

    def instrument(self, settings: InstrumentationSettings) -> None:
        """Begin with the next message and task."""
        from celery import signals

        for name, receiver in self._receivers.items():
            getattr(signals, name).connect(receiver, weak=False, dispatch_uid=receiver.__name__)
        replace = self._patches.replace_when_imported
        for name, (owner, method) in _LOOPS.items():
            replace(name, owner, method, quietened)
        if settings.celery_beat_monitors:
            replace("celery.beat", "Scheduler", "apply_entry", apply_monitored_entry)
        replace("celery.app.base", "Celery", "send_task", _send_task)
        for method in ("on_failure", "on_timeout"):
            replace("celery.worker.request", "Request", method, surrounding(_taking))
        replace("celery.backends.base", "Backend", "__init__", replacement(self._create_backend))

    def uninstrument(self) -> None:
        """Leave Celery as it was found."""
        from celery import signals

        for name, receiver in self._receivers.items():
            getattr(signals, name).disconnect(dispatch_uid=receiver.__name__)
        self._patches.undo()
        self._backends.clear()

    def _on_failure(
        self,
        sender: Any = None,
        task_id: Any = None,
        exception: Any = None,
        args: Any = None,
        kwargs: Any = None,
        **_: Any,
    ) -> None:
        with guarded("reporting a task's failure"):
            lost, run = _lost.get(), _running.get()
            if not isinstance(exception, Exception) or _is_no_failure(exception):
                return
            arguments = partial(arguments_by_name, sender.run, args, kwargs)
            if lost is not None and task_id not in self._lost_tasks:
                self._lost_tasks.append(task_id)
                task, headers = task_of(sender, task_id, lost.request_dict), headers_of(lost.request_dict)
                with lost_task(task, headers):
                    report_failure(task, exception, arguments)
                    end_monitor(headers, is_success=False)
            elif lost is None and run is not None:
                raised = sys.exc_info()[1]  # `exception` may be a copy that can be pickled, which Celery logs
                error = raised if isinstance(raised, Exception) else exception
                run.fail(error, arguments, is_event=not isinstance(error, tuple(sender.throws or ())))
                if exception is not error:
                    record_ignored(exception)

    def _create_backend(self, original: Original, /, backend: Any, *args: Any, **kwargs: Any) -> None:
        with guarded("finding the methods of a result backend"):
            self._quieten(type(backend))
        original(backend, *args, **kwargs)

    def _quieten(self, backend: type) -> None:
        """Suppress what the public methods of a class of backends and its bases do; each calls its store."""
        for kind in backend.__mro__[:-1]:
            if kind not in self._backends:
                self._backends.add(kind)
                for name, value in list(vars(kind).items()):
                    if type(value) is FunctionType and not name.startswith("_"):
                        self._patches.replace(kind, name, quietened)


def _is_no_failure(error: Exception) -> bool:
    from celery.exceptions import Ignore, Reject, Retry

    return isinstance(error, (Ignore, Reject, Retry))


@replacement
def _send_task(original: Original, /, app: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    sending = Publication(lambda: Task("celery", name, system=system_of(app)))
    with sending as publication, holding(_publication, publication):
        return original(app, name, *args, **kwargs)


def _taking(request: Any, /, *_: Any, **__: Any) -> holding[Any]:
    """Around a method that takes the failure of a process: Celery's signal does not say the message."""
    return holding(_lost, request)


def _on_publish(
    sender: Any = None, headers: Any = None, exchange: Any = None, routing_key: Any = None, **_: Any
) -> None:
    """A message is about to be sent; its ``headers`` are still to be changed."""
    with guarded("writing trace headers on a task's message"):
        if not isinstance(headers, dict):
            return
        write_headers(headers)
        run = _running.get()
        write_monitor(headers, run.headers if run is not None else None)
        write_inner_headers(headers)
        publication = _publication.get()
        if publication is not None and publication.task is not None and publication.task.name == sender:
            publication.describe(
                Task(
                    "celery",
                    publication.task.name,
                    task_id=headers.get("id"),
                    retries=headers.get("retries"),
                    system=publication.task.system,
                    destination=destination_of(exchange, routing_key),
                )
            )


def _on_start(task: Any = None, task_id: Any = None, **_: Any) -> None:
    with guarded("starting a task's span"):
        request = vars(task.request)
        is_eager = bool(request.get("is_eager"))
        run = TaskRun(task_of(task, task_id, request), None if is_eager else headers_of(request))
        run.outer = _running.get()
        _running.set(run)


def _on_end(sender: Any = None, task_id: Any = None, state: Any = None, **_: Any) -> None:
    with guarded("ending a task"):
        run = _running.get()
        if run is None or run.task.task_id != task_id:
            return
        _running.set(run.outer)
        error = sys.exc_info()[1] if state is None else None  # what Celery lets through
        if isinstance(error, Exception) and run.headers is not None:
            request = sender.request
            run.fail(error, lambda: arguments_by_name(sender.run, request.args, request.kwargs))
        if run.headers is not None and state != "RETRY":
            end_monitor(run.headers, is_success=state in ("SUCCESS", "IGNORED"))
        run.end(error)


def _on_process_start(**_: Any) -> None:
    """A worker's process has been forked in the loop of its parent, where nothing is instrumented."""
    with guarded("starting a worker's process"):
        otel_context.attach(Context())


def _on_beat_start(**_: Any) -> None:
    """A process for beat has reset its signals, and ends by SIGTERM."""
    handle_sigterm()


def _on_process_end(**_: Any) -> None:
    """A worker's process is about to end by ``os._exit()``."""
    with guarded("ending a worker's process"):
        leave_process()
