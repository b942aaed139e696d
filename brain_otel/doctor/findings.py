"""What a check found: how bad it is, what it is and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Level = Literal["ok", "note", "warning", "fault"]
Check = Literal["configuration", "versions", "launcher", "conventions", "application", "destinations"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's."""

    check: Check
    level: Level
    """``note``: nothing to do; ``warning``: may be wanted; ``fault``: telemetry is missing, wrong or sent twice."""
    title: str
    detail: str = ""
    remedy: str = ""
    """What to do; empty where there is nothing to do."""


def has_fault(findings: Iterable[Finding]) -> bool:
    """Whether any is a fault."""
    return any(each.level == "fault" for each in findings)


def masked(finding: Finding, mask: Callable[[str], str]) -> Finding:
    """The finding with all of its text masked."""
    return Finding(
        check=finding.check,
        level=finding.level,
        title=mask(finding.title),
        detail=mask(finding.detail),
        remedy=mask(finding.remedy),
    )
