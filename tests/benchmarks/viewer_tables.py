"""Makes the tables of the section ``viewer``."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.benchmarks.grid import Grid

MIB = 2**20


def viewer_tables(results: Mapping[str, Any]) -> Iterator[Grid]:
    """Return the tables of the section."""
    found = results["viewer"]
    points = found["points"]
    load, bound, start = found["load"], found["bound"], found["start"]
    yield Grid(
        title="The viewer, by what its file holds",
        columns=("spans", "errors", "spans a CPU second", "us of an error", "MiB resident", "MiB of the file"),
        rows=[_point(each) for each in points],
        notes=[
            f"It shows a page {start['seconds']:.2f} s after its start on the full file ({start['cpu']:.2f} s CPU).",
            f"At {load['per_second']:.0f} requests a second, of {load['sent']:,} requests {load['accepted']:,} were "
            f"accepted and {load['lost']:,} of these lost; p50 {load['p50'] * 1e3:.0f} ms, "
            f"p99 {load['p99'] * 1e3:.0f} ms, {load['cpu'] * 1e6:.0f} us of CPU a request.",
            f"A file bounded to {bound['bound'] / MIB:.0f} MiB grew to {bound['largest'] / MIB:.1f} MiB.",
        ],
    )
    sizes = [f"{each['spans']:,}" for each in points]
    yield Grid(
        title="The viewer's pages, by spans: CPU ms, and p95 in ms",
        columns=("page", *(f"{size}{what}" for size in sizes for what in ("", ", p95"))),
        rows=[
            [page, *(f"{each['screens'][page][key] * 1e3:.0f}" for each in points for key in ("cpu", "p95"))]
            for page in points[-1]["screens"]
        ],
    )


def _point(point: Mapping[str, Any]) -> list[str]:
    counts = [f"{point['spans']:,}", f"{point['errors']:,}", f"{1 / point['span_cpu']:,.0f}"]
    sizes = [f"{point[key] / MIB:.0f}" for key in ("resident", "file")]
    return [*counts, f"{point['error_cpu'] * 1e6:.0f}", *sizes]


def viewer_goals(results: Mapping[str, Any]) -> Iterator[list[str]]:
    """Return the goals of the section: title, measured, at most (at least for spans a second), aimed at."""
    found = results.get("viewer")
    if found is None:
        return
    last = found["points"][-1]
    worst = max(each["p95"] for each in last["screens"].values())
    resident = max(*(each["resident"] for each in found["points"]), found["load"]["resident"]) / MIB
    yield ["viewer: spans a CPU second, at least", f"{1 / last['span_cpu']:,.0f}", "10,000", "-"]
    yield ["viewer: the slowest page's p95, ms", f"{worst * 1e3:.0f}", "200", "-"]
    yield ["viewer: MiB resident", f"{resident:.0f}", "150", "-"]
    yield ["viewer: seconds to start on the full file", f"{found['start']['seconds']:.2f}", "1.00", "-"]
    yield ["viewer: accepted and lost", str(found["load"]["lost"]), "0", "0"]
    share = found["bound"]["largest"] / found["bound"]["bound"]
    yield ["viewer: a bounded file, of its bound", f"{share:.2f}", "1.00", "-"]
