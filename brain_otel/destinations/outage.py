"""An outage is one log line, and its end another, whatever the exporter says in between.

OpenTelemetry's exporters log every attempt that fails, several lines for each batch of each signal, for as long as an
outage lasts. Here the first failure is told with its reason, and that it is over.
"""

from __future__ import annotations

import functools
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_EXPORTERS = "opentelemetry.exporter."

_heard: ContextVar[list[str] | None] = ContextVar("brain_otel.outage.heard", default=None)
"""What exporters have said during the export that runs; None outside of one."""


def _hear(record: logging.LogRecord) -> bool:
    """Keep what an exporter says during an export, instead of letting it be logged; a filter of its logger."""
    heard = _heard.get()
    if heard is None or record.levelno < logging.WARNING:
        return True
    heard[:] = [" ".join(record.getMessage().split())[:300]]
    return False


def told_once(exporter: Any, name: str, signal: str) -> Any:
    """``exporter``, whose failures to export ``signal`` to the destination ``name`` are told once an outage.

    Its ``export`` is replaced on the object itself: readers of metrics look at other attributes of it, too.
    """
    exporter.export = _Telling(exporter.export, f"{name}: {signal}")
    for each in list(logging.root.manager.loggerDict):
        if each.startswith(_EXPORTERS):
            logging.getLogger(each).addFilter(_hear)
    return exporter


class _Telling:
    """An exporter's ``export`` that tells of failures."""

    def __init__(self, export: Callable[..., Any], what: str) -> None:
        self._export = export
        self._what = what
        self._is_out = False
        functools.update_wrapper(self, export)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        heard: list[str] = []
        token = _heard.set(heard)
        try:
            result = self._export(*args, **kwargs)
        except Exception as error:
            self._tell(f"{type(error).__name__}: {error}")
            raise
        finally:
            _heard.reset(token)
        self._tell(None if getattr(result, "name", "") == "SUCCESS" else "".join(heard) or str(result))
        return result

    def _tell(self, reason: str | None) -> None:
        if reason is not None and not self._is_out:
            logger.warning("%s do not arrive and are dropped until they do (%s)", self._what, reason)
        elif reason is None and self._is_out:
            logger.warning("%s arrive again", self._what)
        self._is_out = reason is not None
