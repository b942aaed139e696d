"""Makes the tables of the section ``tail``."""

from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

from tests.benchmarks.figures import added, against, medians, per_span, share
from tests.benchmarks.grid import Grid, ratio
from tests.benchmarks.native import MISSING
from tests.benchmarks.variants import BARE, FLOOR, OURS_BESIDE, SENTRY_NATIVE

QUANTILES = ("p50", "p90", "p99", "p999", "longest")
_COLUMNS = ("variant", "p50 ms", "p90", "p99", "p99.9", "longest", "p99 x floor")


def tail_tables(results: Mapping[str, Any]) -> Iterator[Grid]:
    """Return the tables of the section."""
    tail = results["tail"]
    served = tail["served"]
    missing = [f"{name} is missing here: Python does its work and costs CPU." for name in MISSING]
    yield Grid(
        title=f"Under uvicorn, open loop of {_middle_rate(served):.0f} requests a second",
        columns=_COLUMNS,
        rows=[_times(served, name, "") for name in served],
        notes=missing,
    )
    yield Grid(
        title="Under uvicorn, closed loop at full speed: one connection, and requests a second of eight",
        columns=(*_COLUMNS, "requests/s", "x floor"),
        rows=[[*_times(served, name, "closed_"), *_rate(served, name)] for name in served],
        notes=missing,
    )
    yield Grid(
        title="Collections in 3,000 requests of the open loop",
        columns=("variant", "youngest", "middle", "full", "full, longer than 5 ms", "longest ms"),
        rows=[_collections(served, name) for name in served],
    )
    yield Grid(
        title="A failing request with its error event, added to the bare application",
        columns=("variant", "kind", "loop us", "x floor", "process us", "x floor"),
        rows=[of_kind(tail["errors"], name, "error") for name in tail["errors"] if name != BARE],
    )
    yield Grid(
        title="A span in a trace of 1,000, and a record through the shipper",
        columns=("variant", "a span's loop us", "x floor", "a record's us"),
        rows=[_span(tail, name) for name in tail["spans"]],
    )


def _middle_rate(served: Mapping[str, Any]) -> float:
    return medians(next(iter(served.values())))["rate"]


def _times(served: Mapping[str, Any], name: str, prefix: str) -> list[str]:
    middle = medians(served[name])
    times = [f"{middle[prefix + key] * 1e3:.1f}" for key in QUANTILES]
    return [name, *times, ratio(share(served, name, f"{prefix}p99"))]


def _rate(served: Mapping[str, Any], name: str) -> list[str]:
    return [f"{medians(served[name])['rps']:.0f}", ratio(share(served, name, "rps"))]


def _collections(served: Mapping[str, Any], name: str) -> list[str]:
    """Means: a full collection is rarer than a round."""
    counts = [_mean(served, name, key) for key in ("gc_young", "gc_middle", "gc_full", "gc_long")]
    longest = max(run["gc_longest"] for run in served[name])
    return [name, *(f"{count:.1f}" for count in counts), f"{longest * 1e3:.1f}"]


def _mean(served: Mapping[str, Any], name: str, key: str) -> float:
    return float(mean(run[key] for run in served[name]))


def of_kind(found: Mapping[str, Any], name: str, label: str) -> list[str]:
    """Return a row with the CPU that a variant adds for requests of a kind."""
    cells = [name, label]
    for key in ("loop", "process"):
        cells += [f"{added(found, name, key) * 1e6:.0f}", ratio(against(found, name, key))]
    return cells


def _span(tail: Mapping[str, Any], name: str) -> list[str]:
    record = f"{_record(tail) * 1e6:.0f}" if name == OURS_BESIDE else "-"
    spans = tail["spans"]
    return [name, f"{per_span(spans[name], '1000', 'loop') * 1e6:.1f}", ratio(_span_share(spans, name)), record]


def _span_share(spans: Mapping[str, Any], name: str) -> float:
    return per_span(spans[name], "1000", "loop") / per_span(spans[FLOOR], "1000", "loop")


def _record(tail: Mapping[str, Any]) -> float:
    return medians(tail["shipper"][OURS_BESIDE])["cpu"]


def tail_goals(results: Mapping[str, Any]) -> Iterator[list[str]]:
    """Return the goals of the section: title, measured, at most (at least for requests a second), aimed at."""
    tail = results.get("tail")
    if tail is None or OURS_BESIDE not in tail["served"]:
        return
    served, errors = tail["served"], tail["errors"]
    yield ["p99 of an open loop", ratio(share(served, OURS_BESIDE, "p99")), "2.50", "1.50"]
    yield ["p99 of a closed loop", ratio(share(served, OURS_BESIDE, "closed_p99")), "1.50", "1.10"]
    beyond = max(0.0, _mean(served, OURS_BESIDE, "gc_long") - _mean(served, FLOOR, "gc_long"))
    yield ["full collections longer than 5 ms, beyond the floor's", ratio(beyond), "0.00", "0.00"]
    yield ["an error with its event, loop", ratio(against(errors, OURS_BESIDE, "loop")), "3.50", "2.80"]
    yield ["the same, sentry-sdk native", ratio(against(errors, SENTRY_NATIVE, "loop")), "-", "-"]
    yield ["requests a second, at least", ratio(share(served, OURS_BESIDE, "rps")), "0.95", "1.00"]
    yield ["us of a record through the shipper", f"{_record(tail) * 1e6:.0f}", "150", "110"]
    yield ["a span in a trace of 1,000, loop", ratio(_span_share(tail["spans"], OURS_BESIDE)), "1.30", "1.20"]
