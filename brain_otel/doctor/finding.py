"""A finding of a check: its level, its title and its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

Check = Literal["configuration", "versions", "libraries", "launcher", "conventions", "application", "destinations"]
"""The checks, in the order in which their findings are printed."""

Level = Literal["ok", "note", "warning", "fault"]
"""``note``: nothing to do; ``warning``: may be intended; ``fault``: telemetry is missing, wrong or sent twice."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's output."""

    check: Check
    level: Level
    title: str
    detail: str = ""
    remedy: str = ""
    """What to do; empty if nothing needs to be done."""

    def masked(self, mask: Callable[[str], str]) -> Finding:
        """A copy with ``mask`` applied to every text."""
        return replace(self, title=mask(self.title), detail=mask(self.detail), remedy=mask(self.remedy))


def has_fault(findings: Iterable[Finding]) -> bool:
    """Whether any finding is a fault."""
    return any(each.level == "fault" for each in findings)
