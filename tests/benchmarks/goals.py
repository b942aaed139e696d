"""The goals of the benchmark, beside the measured figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.extras import extras_goals
from tests.benchmarks.figures import against, growth, per_span
from tests.benchmarks.grid import Grid, ratio
from tests.benchmarks.tail_tables import tail_goals
from tests.benchmarks.variants import (
    FLOOR,
    OURS_BESIDE,
    OURS_IN_MEMORY,
    PEERS,
    SENTRY_ALONE,
    SENTRY_NATIVE,
    SENTRY_PROCESSOR,
)
from tests.benchmarks.viewer_tables import viewer_goals


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound on the cost that one variant adds, in units of the cost that another adds."""

    title: str
    section: str = "cpu"
    figure: str = "loop"
    ours: str = OURS_BESIDE
    other: str = FLOOR
    must: float
    aim: float


GOALS = (
    Goal(title="loop CPU, 100 %, spool and shipper process", must=0.7, aim=0.6),
    Goal(title="loop CPU, 10 %", ours="brain_otel, spool, 10 %", must=0.39, aim=0.32),
    Goal(title="process CPU, 100 %, spool and shipper process", figure="process", must=0.94, aim=0.8),
    Goal(title="process CPU, 100 %, in memory", figure="process", ours=OURS_IN_MEMORY, must=1.1, aim=1.0),
    Goal(title="loop CPU against sentry-sdk native", other=SENTRY_NATIVE, must=0.28, aim=0.25),
    *(Goal(title=f"loop CPU against {peer}", other=peer, must=1.0, aim=0.75) for peer in PEERS),
    *(
        Goal(title=f"{title}{unit}", section="start", figure=f"{figure}{key}", other=other, must=must, aim=aim)
        for figure, title, other, must, aim in (
            ("start", "start-up against sentry_sdk.init", SENTRY_ALONE, 1.15, 1.0),
            ("ready", "to the first answer against sentry-sdk native", SENTRY_NATIVE, 1.15, 1.0),
            ("ready", "to the first answer against SentrySpanProcessor", SENTRY_PROCESSOR, 1.0, 0.75),
        )
        for key, unit in (("", ""), ("_cpu", ", CPU"))
    ),
)


def goals(section: str, results: Mapping[str, Any]) -> Grid:
    """Return the goals of a section that has results."""
    found = {"about": results["about"], section: results[section]}
    return Grid(
        title=f"Section {section}, held against its goals",
        columns=("figure", "measured", "at most", "aimed at"),
        rows=[*_of_cost(found), *_of_extras(found), *tail_goals(found), *_of_growth(found), *viewer_goals(found)],
    )


def _of_cost(results: Mapping[str, Any]) -> Iterator[list[str]]:
    for goal in GOALS:
        found = results.get(goal.section, {})
        is_measured = all(each in found and goal.figure in found[each][0] for each in (goal.ours, goal.other))
        if is_measured and (goal.section != "cpu" or results["about"]["kind"] == "request"):
            value = against(found, goal.ours, goal.figure, goal.other)
            yield [goal.title, ratio(value), ratio(goal.must), ratio(goal.aim)]


def _of_extras(results: Mapping[str, Any]) -> Iterator[list[str]]:
    return extras_goals(results.get("start", {}))


def _of_growth(results: Mapping[str, Any]) -> Iterator[list[str]]:
    sizes = results.get("curves", {}).get("spans", {}).get(OURS_BESIDE)
    if sizes:
        for key in ("loop", "process"):
            large, small = per_span(sizes, "1000", key), per_span(sizes, "10", key)
            value = large / small if small > 0 else None
            yield [f"a span's {key} CPU, 1,000 a trace against 10", ratio(value), "1.20", "1.00"]
    if points := results.get("memory"):
        yield [f"MiB grown in {points[-1][0]:,} spans", f"{growth(points) / 2**20:.1f}", "5.0", "0.0"]
