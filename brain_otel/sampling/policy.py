"""The head's policy: its rules, and the rate of each destination."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.sampling.decision import NO_DESTINATIONS, SENTRY_DESTINATIONS

if TYPE_CHECKING:
    from brain_otel.sampling.rules import Rule


class DestinationRate(NamedTuple):
    """A destination in use and the share of all traces that it gets."""

    name: str
    share: float = 1.0
    pressure: Callable[[], int] | None = None
    """Returns how many times its rate is halved at the moment."""
    relieved: Callable[[], object] | None = None
    """Called for each trace that pressure alone keeps from it."""

    def rate(self, head: float, rand: float) -> float:
        """Its rate if the head's is ``head``, for a trace with the random number ``rand``."""
        rate = min(head, self.share)
        if self.pressure is None or not rate or (halvings := self.pressure()) <= 0:
            return rate
        lowered: float = rate * 0.5**halvings
        if self.relieved is not None and lowered <= rand < rate:
            self.relieved()
        return lowered


class Recipients(NamedTuple):
    """Who gets a trace."""

    sampled: bool
    """Whether any destination does; a trace that none gets is not recorded."""
    sentry: bool
    excluded: frozenset[str]
    """Destinations other than Sentry that do not get a recorded trace."""
    sentry_rate: float


class SamplingPolicy(NamedTuple):
    """The configuration beside OpenTelemetry's sampler, ready to use."""

    rules: tuple[Rule, ...] = ()
    destinations: tuple[DestinationRate, ...] = ()
    """Destinations for traces; if empty, every destination gets what the head records."""
    tail: bool = False

    def recipients(self, rand: float, head: float, allowed: bool) -> Recipients:
        """Who gets a trace with the random number ``rand`` at the rate ``head``; nobody unless ``allowed``."""
        if not self.destinations:
            sampled = allowed and rand < head
            return Recipients(sampled, sampled, NO_DESTINATIONS, head)
        sampled, sentry, sentry_rate = False, None, head
        excluded: set[str] = set()
        for each in self.destinations:
            rate = each.rate(head, rand if allowed else 1.0)
            wanted = allowed and rand < rate
            sampled = sampled or wanted
            if each.name in SENTRY_DESTINATIONS:
                sentry, sentry_rate = wanted, rate
            elif not wanted:
                excluded.add(each.name)
        # Without Sentry, `sentry-trace` repeats the flag of `traceparent`.
        is_for_sentry = sampled if sentry is None else sentry
        return Recipients(sampled, is_for_sentry, frozenset(excluded) if excluded else NO_DESTINATIONS, sentry_rate)

    def recipients_below(self, rand: float, sampled: bool) -> Recipients:
        """Who gets a trace that a caller has sampled, or not: each destination's share still applies.

        Pressure does not: the callers record the trace already, and this service's part would be missing.
        """
        sentry, sentry_rate, excluded = True, 1.0, NO_DESTINATIONS
        for each in self.destinations:
            if each.share >= 1.0:
                continue
            if each.name in SENTRY_DESTINATIONS:
                sentry, sentry_rate = rand < each.share, each.share
            elif rand >= each.share:
                excluded |= {each.name}
        return Recipients(sampled, sampled and sentry, excluded, sentry_rate)
