"""The threads in which the spans of a local trace have started, as Sentry shows them.

They are not attributes: the spans of an endpoint would differ by worker thread, and be masked and encoded for each.
"""

import threading
from functools import lru_cache
from typing import Any

from brain_otel.privacy import Policy, policy
from brain_otel.sentry.event_size import encode
from brain_otel.traces.local_trace import LocalTrace

_EXTRAS_KEY = "sentry.threads"

THREAD_NAMES = frozenset({"thread.id", "thread.name"})
"""A span with one of these attributes names its thread itself."""


class Thread:
    """One thread, for the spans of one local trace."""

    __slots__ = ("json", "name", "number")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.json: str | None = None
        """The result of :meth:`to_json`, once it has been called."""

    def to_data(self) -> dict[str, str]:
        """The thread as data of a span, masked."""
        return _data(policy(), self.number, self.name)

    def to_json(self) -> str:
        """The same as JSON, without braces."""
        by = policy()
        known = _json if by.mask is None else _json.__wrapped__  # the application's mask may vary in its answers
        self.json = known(by, self.number, self.name)
        return self.json


def _data(by: Policy, number: int, name: str) -> dict[str, str]:
    return {"thread.id": str(number), "thread.name": by.text(name)}


@lru_cache(maxsize=64)
def _json(by: Policy, number: int, name: str) -> str:
    return encode(_data(by, number, name))[1:-1]


def with_thread(data: dict[str, Any], thread: Thread | None) -> dict[str, Any]:
    """A copy of a span's ``data`` with its thread."""
    return dict(data) if thread is None or not THREAD_NAMES.isdisjoint(data) else {**data, **thread.to_data()}


class SpanThreads:
    """The thread of the root, and those of the spans that started in another one."""

    __slots__ = ("others", "root")

    def __init__(self, root: Thread) -> None:
        self.root = root
        self.others: dict[int, Thread] = {}
        """The other threads, by the id of the span."""


def remember_thread(trace: LocalTrace, span_id: int) -> bool:
    """Remember that a span of ``trace`` starts in this thread; returns whether the root's thread is another one."""
    known = trace.extras.get(_EXTRAS_KEY)
    if known is None:
        trace.extras[_EXTRAS_KEY] = SpanThreads(_here())
        return False
    if threading.get_ident() == known.root.number:
        return False
    known.others[span_id] = _here()
    return True


def thread_of(trace: LocalTrace, span_id: int) -> Thread | None:
    """The thread in which a span of ``trace`` started; None if nobody has remembered."""
    known = threads_of(trace)
    return known.others.get(span_id, known.root) if known is not None else None


def threads_of(trace: LocalTrace) -> SpanThreads | None:
    """The threads of all spans of a local trace; None if nobody has remembered."""
    known = trace.extras.get(_EXTRAS_KEY)
    return known if isinstance(known, SpanThreads) else None


def _here() -> Thread:
    return Thread(threading.get_ident(), threading.current_thread().name)
