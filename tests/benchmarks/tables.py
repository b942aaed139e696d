"""Makes the tables of the benchmark from its results."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.benchmarks.curves import ROUTES, SIZES
from tests.benchmarks.extras import EXTRAS, extras_table
from tests.benchmarks.figures import added, against, growth, kinds_seen, medians, per_span, share
from tests.benchmarks.goals import goals
from tests.benchmarks.grid import Grid, ratio
from tests.benchmarks.sink import SPANS
from tests.benchmarks.tail_tables import of_kind, tail_tables
from tests.benchmarks.variants import BARE, BY_NAME, FLOOR, SENTRY_ALONE
from tests.benchmarks.viewer_tables import viewer_tables

Results = Mapping[str, Any]


def tables(results: Results) -> dict[str, list[Grid]]:
    """Return the tables of each section, its goals last; none for a section without results."""
    makers = {
        "cpu": _cpu,
        "load": _load,
        "start": _start,
        "curves": _curves,
        "memory": _memory,
        "tail": tail_tables,
        "viewer": viewer_tables,
    }
    return {section: list(_section(section, make, results)) for section, make in makers.items()}


def _section(section: str, make: Callable[[Results], Iterator[Grid]], results: Results) -> Iterator[Grid]:
    if section not in results:
        return
    yield from make(results)
    held = goals(section, results)
    if held.rows:
        yield held


def _cpu(results: Results) -> Iterator[Grid]:
    found, kind = results["cpu"], results["about"]["kind"]
    rows = [
        [
            name,
            f"{added(found, name, 'loop') * 1e6:.0f}",
            ratio(against(found, name, "loop")),
            f"{added(found, name, 'process') * 1e6:.0f}",
            ratio(against(found, name, "process")),
            f"{medians(found[name])['beside'] * 1e6:.0f}",
            f"{added(found, name, 'memory') / 2**20:.0f}",
            ratio(against(found, name, "memory")),
            f"{medians(found[name])['sent']:.0f}",
        ]
        for name in found
        if name != BARE
    ]
    yield Grid(
        title=f"CPU a {kind}, memory and what was sent, added to the bare application",
        columns=("variant", "loop us", "x floor", "process us", "x floor", "beside us", "MiB", "x floor", "sent"),
        rows=rows,
        notes=[
            f"The bare application takes {medians(found[BARE])['loop'] * 1e6:.0f} us of its loop.",
            *(_seen(found) if kind == "request" else ()),
        ],
    )


def _seen(found: Mapping[str, Any]) -> list[str]:
    """Name the products that did not send spans of every kind."""
    notes = []
    senders = [name for name in found if BY_NAME[name].sends]
    for name in senders:
        missing = [kind for kind in SPANS if kind not in kinds_seen(found[name])]
        if not medians(found[name])["sent"]:
            notes.append(f"{name}: nothing was sent.")
        elif missing:
            notes.append(f"{name}: no {', '.join(missing)} spans were seen in what was sent.")
    if senders and not notes:
        notes.append("Server, SQL, Redis and HTTP spans were seen in what each product sent.")
    return notes


def _load(results: Results) -> Iterator[Grid]:
    found, about = results["load"], results["about"]
    rows = []
    for name in found:
        middle = medians(found[name])
        cells = [name]
        for key, text in (
            ("p50", f"{middle['p50'] * 1e3:.1f}"),
            ("p99", f"{middle['p99'] * 1e3:.1f}"),
            ("rps", f"{middle['rps']:.0f}"),
        ):
            cells += [text, ratio(share(found, name, key))]
        rows.append(cells)
    yield Grid(
        title=f"Under uvicorn: latency at {about['rate']:g} requests a second, and requests a second at most",
        columns=("variant", "p50 ms", "x floor", "p99 ms", "x floor", "requests/s", "x floor"),
        rows=rows,
    )


def _start(results: Results) -> Iterator[Grid]:
    found = results["start"]
    titles = {"start": "Start-up, to the end of the set-up", "ready": "Start-up, to the answer to the first request"}
    for key, title in titles.items():
        if key in found[BARE][0]:
            yield Grid(
                title=title,
                columns=("variant", "ms", "x floor", "CPU ms", "x floor", "x sentry_sdk.init"),
                rows=[_start_row(found, name, key) for name in found if name not in (BARE, *EXTRAS)],
            )
    yield from extras_table(found)


def _start_row(found: Mapping[str, Any], name: str, key: str) -> list[str]:
    cells = [name]
    for figure in (key, f"{key}_cpu"):
        cells += [f"{added(found, name, figure) * 1e3:.0f}", ratio(against(found, name, figure))]
    return [*cells, ratio(against(found, name, key, SENTRY_ALONE) if SENTRY_ALONE in found else None)]


def _curves(results: Results) -> Iterator[Grid]:
    curves = results["curves"]
    yield Grid(
        title="A span, by the size of its trace",
        columns=("variant", "spans", "loop us", "x of 10", "process us", "x of 10"),
        rows=[_size(name, sizes, str(size)) for name, sizes in curves["spans"].items() for size in SIZES if size],
    )
    yield Grid(
        title="A request, by the routes of the application, added to the bare one with as many",
        columns=("variant", "routes", "loop us", "x floor", "process us", "x floor"),
        rows=[
            of_kind(curves["routes"][str(routes)], name, str(routes))
            for routes in ROUTES
            for name in (FLOOR, *_ours(curves))
        ],
    )
    yield Grid(
        title="A failing request with its error event, and a health check, added to the bare application",
        columns=("variant", "kind", "loop us", "x floor", "process us", "x floor"),
        rows=[
            of_kind(found, name, kind) for kind, found in curves["kinds"].items() for name in found if name != BARE
        ],
    )


def _ours(curves: Mapping[str, Any]) -> list[str]:
    return [name for name in next(iter(curves["routes"].values())) if name not in (BARE, FLOOR)]


def _size(name: str, sizes: Mapping[str, Any], size: str) -> list[str]:
    cells = [name, size]
    for key in ("loop", "process"):
        cost, ten = per_span(sizes, size, key), per_span(sizes, "10", key)
        cells += [f"{cost * 1e6:.1f}", ratio(cost / ten if ten > 0 else None)]
    return cells


def _memory(results: Results) -> Iterator[Grid]:
    points = results["memory"]
    yield Grid(
        title="Resident memory after so many spans",
        columns=("spans", "MiB"),
        rows=[[f"{spans:,}", f"{resident / 2**20:.1f}"] for spans, resident in points],
        notes=[f"It grew by {growth(points) / 2**20:.1f} MiB at most."],
    )
