"""What the head decides by: rules, and the destinations with their shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from brain_otel.sampling.decision import NOBODY, SENTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.sampling.rules import Rule


class DestinationRate(NamedTuple):
    """A destination in use and the share of all traces that it is to get."""

    name: str
    share: float = 1.0
    pressure: Callable[[], int] | None = None
    """How many times its rate is to be halved at the moment."""

    def rate(self, head: float) -> float:
        """Its rate where the head's is ``head``."""
        rate = min(head, self.share)
        return rate if self.pressure is None else rate / 2 ** self.pressure()


class SamplingPolicy(NamedTuple):
    """What stands in the configuration beside OpenTelemetry's sampler, ready to use."""

    rules: tuple[Rule, ...] = ()
    destinations: tuple[DestinationRate, ...] = ()
    """Those in use that take traces; none: whoever there is gets what the head records."""
    tail: bool = False

    def shared(self, rand: float, head: float, allowed: bool) -> tuple[bool, bool, frozenset[str], float]:
        """Who gets a trace with ``rand`` at the head's rate: anybody, Sentry, all others but these; Sentry's rate.

        Nobody unless ``allowed``. A trace that no destination wants is not recorded.
        """
        if not self.destinations:
            sampled = allowed and rand < head
            return sampled, sampled, NOBODY, head
        anybody, sentry, sentry_rate = False, None, head
        excluded: set[str] = set()
        for each in self.destinations:
            rate = each.rate(head)
            wanted = allowed and rand < rate
            anybody = anybody or wanted
            if each.name in SENTRY:
                sentry, sentry_rate = wanted, rate
            elif not wanted:
                excluded.add(each.name)
        # Without Sentry in use, `sentry-trace` says what `traceparent` says.
        return (
            anybody,
            anybody if sentry is None else sentry,
            frozenset(excluded) if excluded else NOBODY,
            sentry_rate,
        )

    def followed(self, rand: float) -> tuple[bool, frozenset[str], float]:
        """The same where a caller has recorded the trace: each destination's share still holds.

        Whether Sentry gets it, all others but which; Sentry's rate. Pressure is the head's to heed: a trace that
        others record already is not to have a hole here.
        """
        sentry, sentry_rate, excluded = True, 1.0, NOBODY
        for each in self.destinations:
            if each.share >= 1.0:
                continue
            if each.name in SENTRY:
                sentry, sentry_rate = rand < each.share, each.share
            elif rand >= each.share:
                excluded |= {each.name}
        return sentry, excluded, sentry_rate
