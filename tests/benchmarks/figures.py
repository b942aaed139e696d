"""Summarizes runs: medians, the cost added to the bare application, and ratios."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.variants import BARE, FLOOR

Runs = Sequence[Mapping[str, Any]]
ByVariant = Mapping[str, Runs]


def medians(runs: Runs) -> dict[str, float]:
    """Return the median of each figure."""
    return {key: median(run[key] for run in runs) for key in _numbers(runs)}


def least(runs: Runs) -> dict[str, float]:
    """Return the minimum of each figure, the value with the fewest disturbances."""
    return {key: min(run[key] for run in runs) for key in _numbers(runs)}


def _numbers(runs: Runs) -> list[str]:
    return [key for key, value in runs[0].items() if isinstance(value, int | float)]


def added(found: ByVariant, name: str, key: str) -> float:
    """Return the cost that a variant adds to the bare application: the median difference of all turns or rounds."""
    times = zip(_times(found[name], key), _times(found[BARE], key), strict=True)
    return float(median(mine - bare for mine, bare in times))


def against(found: ByVariant, name: str, key: str, other: str = FLOOR) -> float | None:
    """Return the cost that a variant adds in units of the cost that another adds; None if the other adds nothing.

    Uses the median of the ratios of all turns (rounds for figures without turns), not the ratio of the medians: the
    machine may be half as fast a second later, for all variants.
    """
    times = zip(*(_times(found[each], key) for each in (name, other, BARE)), strict=True)
    ratios = [(mine - bare) / (theirs - bare) for mine, theirs, bare in times if theirs > bare]
    return median(ratios) if ratios else None


def _times(runs: Runs, key: str) -> list[float]:
    """Return all measurements of a figure: one a turn, else one a round."""
    return [each for run in runs for each in run.get(f"{key}_turns", (run[key],))]


def share(found: ByVariant, name: str, key: str, other: str = FLOOR) -> float:
    """Return a figure of one variant in units of another's, without subtracting the bare application.

    This is the median of the ratios of all rounds.
    """
    return float(median(mine[key] / theirs[key] for mine, theirs in zip(found[name], found[other], strict=True)))


def per_span(sizes: Mapping[str, Runs], size: str, key: str) -> float:
    """Return the cost of a span in a trace of ``size`` spans, without the cost of the request itself."""
    return (medians(sizes[size])[key] - medians(sizes["0"])[key]) / int(size)


def kinds_seen(runs: Runs) -> set[str]:
    """Return the kinds of spans that the variant sent in every round."""
    return set.intersection(*(set(run["spans"]) for run in runs))


def growth(points: Sequence[Sequence[int]]) -> int:
    """Return the largest rise of resident memory above an earlier value, in bytes."""
    residents = [resident for _, resident in points]
    return max(now - min(residents[: at + 1]) for at, now in enumerate(residents))
