"""Finds the application's line, as ``app.py:3``, on a stack or in a traceback."""

import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

_BETWEEN = ("opentelemetry", "sentry_sdk", "wrapt", "importlib", "contextlib", "functools", "fastapi")
"""Packages whose frames lie between a call and the application's line that caused it."""

_PASSING_ON = ("brain_otel.doctor", "brain_otel.instrumentation.conflicts", "brain_otel.runtime.patch")
"""Modules of ours that observe a call of the application's."""

_NO_APPLICATION = ("brain_otel", "__main__", "_frozen_importlib", "_frozen_importlib_external")


def calling_line() -> str | None:
    """The application's line that makes the current call; None if brain_otel itself makes it."""
    for frame, line in traceback.walk_stack(sys._getframe(1)):
        module = _module(frame)
        package = module.partition(".")[0]
        if package == "brain_otel" and not module.startswith(_PASSING_ON):
            return None
        if package not in (*_BETWEEN, *_NO_APPLICATION):
            return _line(frame, line)
    return "the command line"


def failing_line(error: BaseException) -> str:
    """The deepest line of the application in the traceback of ``error``, else the deepest of any package."""
    lines = [
        _line(frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _module(frame).partition(".")[0] not in (*_NO_APPLICATION, "importlib")
    ]
    return _preferred(reversed(lines))


def waiting_line() -> str:
    """The innermost line of the application on the main thread's stack, else the innermost of any package."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return _preferred(_line(each, line) for each, line in traceback.walk_stack(frame)) if frame is not None else ""


def _preferred(lines: Iterable[str]) -> str:
    """The first line below the working directory and outside a virtual environment, else the first of any file."""
    found = [each for each in lines if not each.startswith("<")]
    own = [each for each in found if not each.startswith("/") and "site-packages" not in each]
    return next(iter(own or found), "")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _line(frame: FrameType, line: int) -> str:
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{line}"
