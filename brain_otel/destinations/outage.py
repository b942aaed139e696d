"""An outage is one log line, and its end another, whatever the exporter says in between.

OpenTelemetry's exporters log every attempt that fails, several lines for each batch of each signal, for as long as an
outage lasts. Here the first failure is told with its reason, and that it is over.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from brain_otel.destinations.exporter_log import Overheard, overheard

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


def told_once(exporter: Any, what: str) -> Any:
    """``exporter``, whose failures to export are told once an outage, as of ``what``: "otlp: traces".

    Its ``export`` is replaced on the object itself: readers of metrics look at other attributes of it, too.
    """
    exporter.export = functools.wraps(exporter.export)(_Telling(exporter.export, what))
    return exporter


class _Telling:
    """An exporter's ``export`` that tells of an outage."""

    def __init__(self, export: Callable[..., Any], what: str) -> None:
        self._export = export
        self._what = what
        self._is_out = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        said = Overheard()
        with overheard(said):
            try:
                result = self._export(*args, **kwargs)
            except Exception as error:
                self._tell(f"{type(error).__name__}: {error}")
                raise
        self._tell(None if getattr(result, "name", "") == "SUCCESS" else said.reason or str(result))
        return result

    def _tell(self, reason: str | None) -> None:
        if reason is not None and not self._is_out:
            logger.warning("%s do not arrive, and are dropped until they do (%s)", self._what, reason)
        elif reason is None and self._is_out:
            logger.warning("%s arrive again", self._what)
        self._is_out = reason is not None
