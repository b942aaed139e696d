"""Figures from runs: medians, what is added to the bare application, and ratios."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.variants import BARE, FLOOR

Runs = Sequence[Mapping[str, Any]]
ByVariant = Mapping[str, Runs]


def medians(runs: Runs) -> dict[str, float]:
    """The median of each figure."""
    return {key: median(run[key] for run in runs) for key in _numbers(runs)}


def least(runs: Runs) -> dict[str, float]:
    """The least of each figure: what is left when nothing else disturbed."""
    return {key: min(run[key] for run in runs) for key in _numbers(runs)}


def _numbers(runs: Runs) -> list[str]:
    return [key for key, value in runs[0].items() if isinstance(value, int | float)]


def added(found: ByVariant, name: str, key: str) -> float:
    """What a variant adds to the bare application: the median of the differences of all turns, or rounds."""
    times = zip(_times(found[name], key), _times(found[BARE], key), strict=True)
    return float(median(mine - bare for mine, bare in times))


def against(found: ByVariant, name: str, key: str, other: str = FLOOR) -> float | None:
    """What a variant adds, in units of what another adds at the same time; None where that is nothing.

    The median of the ratios of all turns, or of all rounds of what has no turns, not the ratio of their medians: a
    second later the machine may be half as fast, for everybody.
    """
    times = zip(*(_times(found[each], key) for each in (name, other, BARE)), strict=True)
    ratios = [(mine - bare) / (theirs - bare) for mine, theirs, bare in times if theirs > bare]
    return median(ratios) if ratios else None


def _times(runs: Runs, key: str) -> list[float]:
    """A figure each time that it was measured: turn by turn, or else round by round."""
    return [each for run in runs for each in run.get(f"{key}_turns", (run[key],))]


def share(found: ByVariant, name: str, key: str, other: str = FLOOR) -> float:
    """A figure of a variant in units of another's, both as they are."""
    return medians(found[name])[key] / medians(found[other])[key]


def per_span(sizes: Mapping[str, Runs], size: str, key: str) -> float:
    """What a span costs in a trace of ``size`` spans: the request without any is taken off."""
    return (medians(sizes[size])[key] - medians(sizes["0"])[key]) / int(size)


def kinds_seen(runs: Runs) -> set[str]:
    """The kinds of spans that were seen in what was sent, in every round."""
    return set.intersection(*(set(run["spans"]) for run in runs))


def growth(points: Sequence[Sequence[int]]) -> int:
    """The most by which resident memory rose above what it had been before, in bytes."""
    residents = [resident for _, resident in points]
    return max(now - min(residents[: at + 1]) for at, now in enumerate(residents))
