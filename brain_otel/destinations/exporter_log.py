"""What OpenTelemetry's exporters log is the reason that they do not return: their result is a bare failure."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain_otel.refusal import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOGGERS = ("opentelemetry.exporter.", "opentelemetry.sdk.")

_MAX_LENGTH = 300
"""Characters of a reason; some exporters log what the server answered."""

_TRANSIENT = re.compile(r"Transient error (.+) encountered while exporting .*")
_WITHOUT_REASON = re.compile("due to timeout, max retries or shutdown|Shutdown in progress|Channel closed")


@dataclass
class Overheard:
    """What was logged while an exporter exported."""

    reason: str = ""


_listener: ContextVar[Overheard | None] = ContextVar("brain_otel.overheard", default=None)


def _hear(record: logging.LogRecord) -> bool:
    """Keep a line that an exporter logs for the one who listens, instead of letting it out; a logger's filter."""
    listener = _listener.get()
    if listener is None:
        return True
    line = " ".join(record.getMessage().split())
    # Some lines say no more than that there was an earlier one.
    if record.levelno >= logging.WARNING and not (listener.reason and _WITHOUT_REASON.search(line)):
        listener.reason = masked(_TRANSIENT.sub(r"\1", line))[:_MAX_LENGTH]
    return False


@contextmanager
def overheard(listener: Overheard) -> Iterator[None]:
    """Keep in ``listener`` what exporters log in this context while the block lasts; it goes nowhere else."""
    _listen_to_all()
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _listen_to_all() -> None:
    for name, each in list(logging.root.manager.loggerDict.items()):
        if name.startswith(_LOGGERS) and isinstance(each, logging.Logger) and _hear not in each.filters:
            each.filters.insert(0, _hear)  # before their own, which let a line pass once in 20 seconds
