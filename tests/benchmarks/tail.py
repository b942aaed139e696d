"""Measures what the mean hides: slow requests and collections under uvicorn, errors, large traces, the shipper.

All servers of a round are alive at the same time and take turns, in an order that changes with every round. Sink,
upstream service and closed loop are nginx and wrk where the machine has them.
"""

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.curves import COMPARED, measure_sizes
from tests.benchmarks.native import closed_loop, free_sink, generate
from tests.benchmarks.serving import CONNECTIONS, serving
from tests.benchmarks.shipping import ship_all
from tests.benchmarks.surroundings import Surroundings, wait_until_sent
from tests.benchmarks.turns import KINDS, take_turns
from tests.benchmarks.variants import BARE, FLOOR, OURS_BESIDE, OURS_IN_MEMORY, PEERS, SENTRY_NATIVE, Variant
from tests.support.process import Server

TAILS = (BARE, FLOOR, OURS_IN_MEMORY, OURS_BESIDE, SENTRY_NATIVE, *PEERS)
"""The variants whose servers are measured."""

RATE = 300.0
"""Requests per second of the open loop, at most."""

KEPT = 0.5
"""The rate's share of the floor's full speed, at most: a server that is asked for more shows its queue alone."""

CLOSED_SHARE = 0.4
"""The length of each closed loop, in that of the open one."""

WARM_UP_SECONDS = 1.5
"""Long enough for a freeze that follows the first second of requests."""

PER_REQUESTS = 3_000
"""Collections are given for so many requests."""

PAUSE = 1.0
"""Seconds after a turn in which its threads send, so that they do not disturb the next turn."""


def measure_tail(variants: Sequence[Variant], around: Surroundings, requests: int, served: int, number: int) -> Any:
    """Measure one round; ``served`` is the number of requests in the open loop."""
    with free_sink(around) as free:
        return {
            "served": _serve_all([each for each in variants if each.name in TAILS], free, served, number),
            "errors": take_turns(COMPARED, around, KINDS["error"], requests),
            "spans": measure_sizes(COMPARED[1:3], around, requests, (0, 1000)),
            "shipper": {OURS_BESIDE: ship_all(free, 2 * requests)},
        }


def _serve_all(variants: Sequence[Variant], around: Surroundings, served: int, number: int) -> dict[str, Any]:
    with ExitStack() as stack:
        folders = [stack.enter_context(around.folder()) for _ in variants]
        servers = [
            stack.enter_context(serving(each, around, folder)) for each, folder in zip(variants, folders, strict=True)
        ]
        for server in servers:
            generate(server.port, "open", RATE / 2, WARM_UP_SECONDS)
        floors = next(server for each, server in zip(variants, servers, strict=True) if each.name == FLOOR)
        rate = min(RATE, KEPT * closed_loop(floors.port, CONNECTIONS, WARM_UP_SECONDS)["rps"])
        alive = list(zip(variants, servers, folders, strict=True))
        random.Random(number).shuffle(alive)
        found = {variant.name: _turn(server, folder, served, rate) for variant, server, folder in alive}
    return {each.name: found[each.name] for each in variants}


def _turn(server: Server, folder: Path, served: int, rate: float) -> dict[str, float]:
    """Return times of the open loop, its ``rate``, times of one connection (``closed_``), collections, ``rps`` of 8.

    The rate is in requests per second, the times are in seconds.
    """
    server.get("/collections")
    figures = {**generate(server.port, "open", rate, served / rate), "rate": rate}
    for key, value in server.get("/collections").json().items():
        figures[f"gc_{key}"] = value if key == "longest" else value * PER_REQUESTS / served
    seconds = CLOSED_SHARE * served / RATE
    for key, value in closed_loop(server.port, 1, seconds).items():
        figures[f"closed_{key}"] = value
    figures["rps"] = closed_loop(server.port, CONNECTIONS, seconds)["rps"]
    wait_until_sent(folder, by_us=False)
    time.sleep(PAUSE)
    return figures
