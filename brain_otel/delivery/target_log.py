"""Log lines about one target: outages, rate limits, and what it did not accept."""

import logging
from collections.abc import Mapping

from brain_otel.runtime.limited_log import CountLog, OutageLog

logger = logging.getLogger(__name__)


class TargetLog:
    """Logs what becomes of the records for one target, each kind of line at most once a minute."""

    def __init__(self, address: str) -> None:
        self.outage = OutageLog(
            logger,
            address,
            failed="%s cannot be reached; its records wait (%s)",
            recovered="%s can be reached again",
            repeated="%s could not be reached %d more times within a minute",
        )
        self._rejections = CountLog(logger, "%s rejected records: %s", address)
        self._parts = CountLog(logger, "%s rejected a part of what it accepted: %s", address)
        self._warnings = CountLog(logger, "%s accepted records with a warning: %s", address, of_items=False)
        self._limits = CountLog(logger, "%s has set rate limits, and records wait: %s", address, of_items=False)
        self._refusals = CountLog(
            logger, "%s refuses records for so long that they are dropped: %s", address, of_items=False
        )

    def rejected(self, category: str, reason: str) -> None:
        """The target rejected a record."""
        self._rejections.add(f"{category} {reason.partition(':')[0]}", example=f"{category} ({reason})")

    def accepted(self, category: str, rejected: int, message: str) -> None:
        """The target accepted a record, all but ``rejected`` of its items, and said ``message``."""
        if rejected:
            self._parts.add(category, rejected, example=f"{category} ({message})" if message else "")
        elif message:
            self._warnings.add(category, example=f"{category} ({message})")

    def limited(self, waiting: Mapping[str, float], refused: Mapping[str, float]) -> None:
        """The target has set limits, in seconds by category, during which records wait or are dropped."""
        if waiting:
            self._limits.add(_listed(waiting))
        if refused:
            self._refusals.add(_listed(refused))


def _listed(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{category or 'everything'} for {length:g} s" for category, length in limits.items())
