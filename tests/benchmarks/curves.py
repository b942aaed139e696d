"""Measures how cost grows with spans and routes, and what failures and health checks cost."""

from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from tests.benchmarks.surroundings import Surroundings
from tests.benchmarks.turns import KINDS, Worker, take_turns, working
from tests.benchmarks.variants import BARE, BY_NAME, FLOOR, OURS_BESIDE, SENTRY_NATIVE, Variant

SIZES = (0, 1, 10, 100, 1000)
ROUTES = (1, 100, 1000)
COMPARED = tuple(BY_NAME[name] for name in (BARE, FLOOR, OURS_BESIDE, SENTRY_NATIVE))

TURNS = 10
WARM_UP = {0: 100, 1: 50, 10: 20, 100: 5, 1000: 2}


def measure_curves(around: Surroundings, requests: int) -> dict[str, Any]:
    """Measure all curves once."""
    plain = COMPARED[:3]
    return {
        "spans": measure_sizes(plain[1:], around, requests),
        "routes": {
            str(count): take_turns(plain, around, KINDS["request"], requests, routes=count) for count in ROUTES
        },
        "kinds": {kind: take_turns(COMPARED, around, KINDS[kind], requests) for kind in ("error", "health")},
    }


def measure_sizes(
    variants: Sequence[Variant], around: Surroundings, requests: int, sizes: Sequence[int] = SIZES
) -> dict[str, dict[str, Any]]:
    """Measure the CPU of requests with different numbers of spans, all sizes in each turn."""
    with ExitStack() as stack:
        workers = [stack.enter_context(working(each, around)) for each in variants]
        for worker in workers:
            for size in sizes:
                worker.tell(f"run /spans/{size} {WARM_UP[size]}")
        turns = [
            [_turn(worker, requests, sizes if number % 2 else sizes[::-1]) for worker in workers]
            for number in range(TURNS)
        ]
    return {
        variant.name: {
            str(size): {key: median(turn[place][size][key] for turn in turns) for key in ("loop", "process")}
            for size in sizes
        }
        for place, variant in enumerate(variants)
    }


def _turn(worker: Worker, requests: int, sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    found = {}
    for size in sizes:
        # The cost of a request without spans is subtracted: small traces need many requests for a clear difference.
        count = max(4, requests * 80 // (TURNS * (size + 40)))
        before = worker.tell("flush")["process"]
        loop = worker.tell(f"run /spans/{size} {count}")["loop"]
        process = worker.tell("flush")["process"] - before
        found[size] = {"loop": loop / count, "process": process / count}
    return found
