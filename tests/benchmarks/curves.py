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
        "spans": _by_size(plain[1:], around, requests),
        "routes": {
            str(count): take_turns(plain, around, KINDS["request"], requests, routes=count) for count in ROUTES
        },
        "kinds": {kind: take_turns(COMPARED, around, KINDS[kind], requests) for kind in ("error", "health")},
    }


def _by_size(variants: Sequence[Variant], around: Surroundings, requests: int) -> dict[str, dict[str, Any]]:
    """Measure the CPU of requests with different numbers of spans, all sizes in each turn."""
    with ExitStack() as stack:
        workers = [stack.enter_context(working(each, around)) for each in variants]
        for worker in workers:
            for size in SIZES:
                worker.tell(f"run /spans/{size} {WARM_UP[size]}")
        turns = [[_turn(worker, requests, number) for worker in workers] for number in range(TURNS)]
    return {
        variant.name: {
            str(size): {key: median(turn[place][size][key] for turn in turns) for key in ("loop", "process")}
            for size in SIZES
        }
        for place, variant in enumerate(variants)
    }


def _turn(worker: Worker, requests: int, number: int) -> dict[int, dict[str, float]]:
    found = {}
    for size in SIZES if number % 2 else reversed(SIZES):
        # The cost of a request without spans is subtracted: small traces need many requests for a clear difference.
        count = max(4, requests * 80 // (TURNS * (size + 40)))
        before = worker.tell("flush")["process"]
        loop = worker.tell(f"run /spans/{size} {count}")["loop"]
        process = worker.tell("flush")["process"] - before
        found[size] = {"loop": loop / count, "process": process / count}
    return found
