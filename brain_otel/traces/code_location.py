"""Where in the application's code a slow or failed call was made: ``code.*`` attributes of its span.

The frames are looked at when the span ends, so that a fast call that went well costs two comparisons. The call's own
coroutines, and whoever awaits them, are on the stack then. A task of a library's coroutine, as in ``gather(get(a),
get(b))``, has the place where it was started. Names are those of
https://opentelemetry.io/docs/specs/semconv/code/.
"""

import asyncio
import sys
import sysconfig
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, CoroutineType, FrameType
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.traces.plain_span import ExtendedSpan

FUNCTION, FILE, LINE = "code.function.name", "code.file.path", "code.line.number"

_CLIENT, _PRODUCER, _ERROR = SpanKind.CLIENT, SpanKind.PRODUCER, StatusCode.ERROR

_MAX_FRAMES = 500

_STARTED_AT = "_brain_otel_started_at"
"""Attribute of a task: the place in the application's code that has started it."""

_LOOPS = frozenset({asyncio.events.__file__, asyncio.runners.__file__})
"""Modules that run a task; whoever called them has started the loop, not the task."""

_WAITING = frozenset({asyncio.streams.__file__, asyncio.locks.__file__, asyncio.queues.__file__})
"""Modules whose coroutines only wait for the loop, so no call is made in their tasks."""

_WRITES_OF_REDIS = "AbstractConnection._send_packed_command"
"""Writes to the socket; Redis' client runs it in a task for each command, to bound its time."""


def with_code_location(span: ReadableSpan, slow: float) -> ReadableSpan:
    """``span``, which ends here; a copy with the application's place if it is a call that failed or was slow.

    Args:
        span: An ended span.
        slow: Length in nanoseconds from which a call is slow.
    """
    kind = span.kind
    if kind is not _CLIENT and kind is not _PRODUCER:  # the hash of an enum's member is slow
        return span
    took = (span.end_time or 0) - (span.start_time or 0)
    if took < slow and span.status.status_code is not _ERROR:
        return span
    place = application_place(sys._getframe(1)) or _place_of_task()
    return span if place is None else ExtendedSpan(span, place.to_attributes())


class Place(NamedTuple):
    """A line of the application's; without its frame, which would keep variables alive."""

    module: object
    code: CodeType
    line: int | None

    def to_attributes(self) -> dict[str, Any]:
        """The function, file and line."""
        name = self.code.co_qualname
        found = {
            FUNCTION: f"{self.module}.{name}" if isinstance(self.module, str) else name,
            FILE: self.code.co_filename,
            LINE: self.line,
        }
        return {key: value for key, value in found.items() if value is not None}


def application_place(frame: FrameType | None) -> Place | None:
    """The innermost place of the application's, from ``frame`` up to the loop or thread that runs it; or None.

    Code without a file is the application's if it is the program itself.
    """
    greenlet: Any = None
    for _ in range(_MAX_FRAMES):
        if frame is None:
            greenlet = _awaiting_greenlet(greenlet)
            frame = greenlet and greenlet.gr_frame
            if frame is None:
                return None
        path = frame.f_code.co_filename
        if path in _LOOPS:
            return None
        if not is_foreign(path):
            module = frame.f_globals.get("__name__")
            if module == "__main__" or not path.startswith("<"):
                return Place(module, frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return None


def remember_start(task: Any, coroutine: Any) -> None:
    """Keep the place in which the caller starts ``task``; a task that a task without a place starts has its place.

    Up to Python 3.11, ``wait_for()`` runs its coroutine in a task. Walking up the stack of each command of Redis
    would cost as much as the command's span.
    """
    if type(coroutine) is not CoroutineType or not _only_waits(coroutine.cr_code):
        setattr(task, _STARTED_AT, application_place(sys._getframe(1)) or _place_of_task())


def _only_waits(code: CodeType) -> bool:
    """Whether a coroutine with this ``code`` makes no call."""
    path = code.co_filename
    return path in _WAITING or (code.co_qualname == _WRITES_OF_REDIS and "redis" in path and is_foreign(path))


def _place_of_task() -> Place | None:
    with suppress(RuntimeError):  # no loop runs here
        place: Place | None = getattr(asyncio.current_task(), _STARTED_AT, None)
        return place
    return None


def _awaiting_greenlet(inner: Any) -> Any:
    """The greenlet that waits for ``inner``, or for the current one, if SQLAlchemy has made that for a coroutine."""
    module = sys.modules.get("greenlet")
    if module is None:
        return None
    known = module.getcurrent() if inner is None else inner
    return known.parent if type(known).__module__.startswith("sqlalchemy.") else None


@lru_cache(maxsize=4_096)
def is_foreign(path: str) -> bool:
    """Whether code of the file ``path`` is a library's."""
    plain = path.replace("\\", "/")
    return "/site-packages/" in plain or "/dist-packages/" in plain or plain.startswith(_foreign_folders())


@cache
def _foreign_folders() -> tuple[str, ...]:
    """Folders of code that is not the application's: this package, Python's, and the commands that start servers."""
    paths = sysconfig.get_paths()
    folders = {str(Path(__file__).parents[1]), *(paths[name] for name in ("stdlib", "platstdlib", "scripts"))}
    return tuple(f"{Path(each)}/" for each in folders)
