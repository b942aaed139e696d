"""What can be set about sampling: frozen values, each default written once.

They stand outside of the package ``sampling``, which needs OpenTelemetry's SDK; reading settings does not.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


_NONE: Mapping[str, Any] = MappingProxyType({})


class RuleSettings(NamedTuple):
    """For which requests, jobs and scripts another rate holds; what is not given matches everything."""

    route: str | None = None
    """A pattern for the route (``/missions/{mission_id}``) or the path (``/missions/7``)."""
    method: str | None = None
    environment: str | None = None
    """A pattern for the environment's name."""
    attributes: Mapping[str, str] = _NONE
    """Patterns for attributes that the root span has when it starts."""
    rate: float = 1.0
    """The share of the matching traces that is recorded, 0 to 1."""
    per_second: float | None = None
    """The most of them that is recorded in a second, in this process; None: as many as come."""


class TailSettings(NamedTuple):
    """Which local traces are kept although the head said no, and what waits for that at the most."""

    errors: bool = True
    """Keep one in which a span has the status error, or an exception was reported."""
    slower_than: float | None = None
    """Keep one that lasts longer than so many seconds; None: none for that reason."""
    max_traces: int = 10_000
    max_spans: int = 100_000
    max_bytes: int = 64_000_000
    """An estimate, rather too high than too low."""
    max_age: float = 120.0
    """Seconds that a local trace waits for its end."""


class SamplingSettings(NamedTuple):
    """What is recorded, beside the sampler that stands in OpenTelemetry's own place."""

    rules: tuple[RuleSettings, ...] = ()
    """The first that matches decides."""
    destinations: Mapping[str, float] = _NONE
    """The share of all traces that a destination gets, by its name; all that is recorded if it is not in here."""
    tail: TailSettings | None = None
    """None: only the head decides."""
