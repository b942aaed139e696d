"""A whole script as one transaction, from the launcher to the end of the process, where the settings ask for it."""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from opentelemetry.trace import Status, StatusCode

from brain_otel.runtime.exit import call_before_leaving
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.tracing import start_transaction

OP = "process"

_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
"""Options of the interpreter that take the next argument."""


def start_script() -> None:
    """Begin the transaction; it ends when the process does, and in no other process."""
    with guarded("starting the transaction of a script"):
        _Script().start()


class _Script:
    """The transaction of this process."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._entered = start_transaction(name_of(sys.orig_argv), op=OP)
        self._patches = Patches()
        self._code: Any = None

    def start(self) -> None:
        self.span = self._entered.__enter__()
        self._patches.replace(sys, "exit", replacement(self._exit))
        call_before_leaving(self.end)

    def end(self) -> None:
        """End the transaction by what has ended the process."""
        if os.getpid() != self._pid:
            return  # a forked child
        call_before_leaving(None)
        self._patches.undo()
        error = getattr(sys, "last_value", None)  # what has been printed; it is set before the hook is called
        code = 1 if isinstance(error, Exception) else exit_code(self._code)
        with guarded("describing the end of a script"):
            if threading.current_thread() is not threading.main_thread():
                self.span.set_status("cancelled")  # by a signal
            else:
                self.span.set_attribute("process.exit.code", code)
                if code and not isinstance(error, Exception):
                    self.span.set_status(Status(StatusCode.ERROR, f"exit code {code}"))
        self._entered.__exit__(None, error if isinstance(error, Exception) else None, None)

    def _exit(self, original: Original, *args: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            self._code = args[0] if args else None
        return original(*args)


def exit_code(given: Any) -> int:
    """The code with which the process ends after ``sys.exit(given)``."""
    if given is None:
        return 0
    return given if isinstance(given, int) else 1


def name_of(arguments: Sequence[str]) -> str:
    """The script in the command line of an interpreter: a file's name, or a module's."""
    given = iter(arguments[1:])
    for each in given:
        if each == "-m":
            return next(given, each)
        if each == "-c" or not each.startswith("-"):
            return "python -c" if each == "-c" else PurePath(each).name or each
        if each in _WITH_VALUE:
            next(given, None)
    return "python"
