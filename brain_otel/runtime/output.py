"""The standard output of a command, whose errors are told from those of files and connections."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast


class OutputError(Exception):
    """The standard output cannot be written: its disk is full, or its reader has ended."""


class _Output:
    """A stream that raises :class:`OutputError` where the one within raises ``OSError``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str, /) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._failed(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> OutputError:
        """The error to raise; what is still buffered goes nowhere, or Python would fail once more at its end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        return OutputError(f"the standard output cannot be written: {error.strerror or error}")


@contextmanager
def checked_output() -> Iterator[None]:
    """``sys.stdout`` raises :class:`OutputError` in the block, at the latest at its end.

    It escapes characters that its encoding lacks. Of the standard streams, a closed one is empty, or
    drops what is written.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(errors="backslashreplace")
    with redirect_stdout(cast("TextIO", _Output(sys.stdout))):
        try:
            yield
        finally:
            sys.stdout.flush()
