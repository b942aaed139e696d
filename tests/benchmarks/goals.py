"""The goals of the benchmark, beside the measured figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.figures import against, growth, per_span
from tests.benchmarks.grid import Grid, ratio
from tests.benchmarks.tail_tables import tail_goals
from tests.benchmarks.variants import FLOOR, OURS_BESIDE, OURS_IN_MEMORY, PEERS, SENTRY_ALONE, SENTRY_NATIVE
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
        Goal(title=title, section="start", figure=figure, other=SENTRY_ALONE, must=1.15, aim=1.0)
        for figure, title in (
            ("start", "start-up against sentry_sdk.init"),
            ("start_cpu", "start-up against sentry_sdk.init, CPU"),
        )
    ),
)


def goals(results: Mapping[str, Any]) -> Grid:
    """Return the goals for which there are results."""
    return Grid(
        title="Held against the goals",
        columns=("figure", "measured", "at most", "aimed at"),
        rows=[*_of_cost(results), *tail_goals(results), *_of_growth(results), *viewer_goals(results)],
    )


def _of_cost(results: Mapping[str, Any]) -> Iterator[list[str]]:
    for goal in GOALS:
        found = results.get(goal.section, {})
        is_measured = goal.ours in found and goal.other in found
        if is_measured and (goal.section != "cpu" or results["about"]["kind"] == "request"):
            value = against(found, goal.ours, goal.figure, goal.other)
            yield [goal.title, ratio(value), ratio(goal.must), ratio(goal.aim)]


def _of_growth(results: Mapping[str, Any]) -> Iterator[list[str]]:
    sizes = results.get("curves", {}).get("spans", {}).get(OURS_BESIDE)
    if sizes:
        for key in ("loop", "process"):
            large, small = per_span(sizes, "1000", key), per_span(sizes, "10", key)
            value = large / small if small > 0 else None
            yield [f"a span's {key} CPU, 1,000 a trace against 10", ratio(value), "1.20", "1.00"]
    if points := results.get("memory"):
        yield [f"MiB grown in {points[-1][0]:,} spans", f"{growth(points) / 2**20:.1f}", "5.0", "0.0"]
