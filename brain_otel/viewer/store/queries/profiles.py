"""Where the time of a trace's transactions went, as flame graphs."""

import sqlite3
from collections import defaultdict
from typing import Any

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.inserts import unpacked
from brain_otel.viewer.store.queries.filters import rows

Node = tuple[int, int, int, int]
"""Depth, frame, and microseconds with and without callees."""

MAX_PROFILES = 20
MAX_SHOWN = 1_000
"""Nodes of a flame graph; the shortest are left out."""

LEAST = 0.001
"""The part of the whole below which a node could not be seen."""

HOTTEST = 15


def list_profiles(connection: sqlite3.Connection, trace: str) -> list[Json]:
    """The profiles of a trace, the longest first."""
    query = f"""
        SELECT id, event_id, at, duration, platform, environment, release, name FROM profiles
        WHERE trace = ? ORDER BY duration DESC, id LIMIT {MAX_PROFILES}"""
    return rows(connection, query, (trace,))


def read_flame(connection: sqlite3.Connection, profile: Json, *, thread: str = "", root: int = 0) -> Json:
    """The flame graph of one thread, the transaction's by default, from the node with the number ``root``."""
    body = unpacked(connection.execute("SELECT body FROM profiles WHERE id = ?", (profile["id"],)).fetchone()[0])
    threads, frames = body["threads"], [_frame(each) for each in body["frames"]]
    chosen = next((each for each in threads if each["id"] == thread), threads[0])
    nodes: list[Node] = chosen["nodes"]
    root = root if root < len(nodes) else 0
    shown = _shown(nodes, root)
    first = max(1, nodes[root][0])  # the root of all has no frame
    described = [
        {**frames[nodes[number][1]], "number": number, "row": nodes[number][0] - first, "x": x, "width": width}
        | {"total": nodes[number][2], "own": nodes[number][3]}
        for number, x, width in shown
        if nodes[number][1] >= 0
    ]
    end = _end(nodes, root)
    return {
        **profile,
        "thread": chosen["id"],
        "threads": [{key: each[key] for key in ("id", "name", "is_active", "samples")} for each in threads],
        "root": root,
        "callers": [{**frames[nodes[each][1]], "number": each} for each in _callers(nodes, root)],
        "total": nodes[root][2],
        "rows": max((each["row"] for each in described), default=0) + 1,
        "omitted": end - root - len(shown),
        "nodes": described,
        "hottest": _hottest(nodes[root:end], frames),
    }


def _frame(frame: list[Any]) -> Json:
    return dict(zip(("function", "file", "line", "in_app"), frame, strict=True))


def _end(nodes: list[Node], root: int) -> int:
    """The number after the last callee of ``root``."""
    depth = nodes[root][0]
    return next((number for number in range(root + 1, len(nodes)) if nodes[number][0] <= depth), len(nodes))


def _shown(nodes: list[Node], root: int) -> list[tuple[int, float, float]]:
    """Number, left edge and width, in parts of the root, of the nodes that can be seen."""
    whole = max(1, nodes[root][2])
    edges: dict[int, int] = {}
    found = []
    for number in range(root, _end(nodes, root)):
        depth, _, total, _ = nodes[number]
        x = edges.get(depth, 0)
        edges[depth], edges[depth + 1] = x + total, x
        if total >= whole * LEAST:
            found.append((number, x / whole, total / whole))
    if len(found) > MAX_SHOWN:
        least = sorted((each[2] for each in found), reverse=True)[MAX_SHOWN]
        found = [each for each in found if each[2] > least]
    return found


def _callers(nodes: list[Node], root: int) -> list[int]:
    """The numbers of the nodes from the outermost call to ``root``, which is one of them."""
    found: list[int] = []
    depth = nodes[root][0] + 1
    for number in range(root, 0, -1):
        if nodes[number][0] < depth:
            depth = nodes[number][0]
            found.append(number)
    return found[::-1]


def _hottest(nodes: list[Node], frames: list[Json]) -> list[Json]:
    """The functions in which most time was spent, without what they called."""
    own: dict[tuple[str, str], int] = defaultdict(int)
    for _, number, _, time in nodes:
        if time and number >= 0:
            own[frames[number]["function"], frames[number]["file"]] += time
    most = sorted(own.items(), key=lambda each: -each[1])[:HOTTEST]
    return [{"function": function, "file": file, "own": time} for (function, file), time in most]
