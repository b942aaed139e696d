"""Durations by logarithmic buckets, from which percentiles and Apdex are read.

A bucket's width is 4 % of its value, so that what is read is at most 2 % off:
https://arxiv.org/abs/1908.10693 (DDSketch).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

ACCURACY = 0.02
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG = math.log(_GAMMA)

STEPS = (60, 3_600)
"""Seconds of a slot: minutes for short periods, hours for long ones."""


def bucket_of(duration: int) -> int:
    """The bucket of a duration in microseconds."""
    return math.ceil(math.log(duration) / _LOG - 1e-9) if duration > 1 else 0


def value_of(bucket: int) -> float:
    """The duration in microseconds for which the bucket stands."""
    return 2 * _GAMMA**bucket / (_GAMMA + 1) if bucket else 1.0


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """The duration, in microseconds, that ``share`` of the durations do not exceed; None if there are none."""
    total = sum(buckets.values())
    rank = max(1, math.ceil(share * total))
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank:
            return value_of(bucket)
    return None


def apdex(buckets: Mapping[int, int], failed: Mapping[int, int], threshold: int) -> float | None:
    """Satisfied requests and half of the tolerated ones, of all: https://en.wikipedia.org/wiki/Apdex.

    ``threshold`` is in microseconds; ``failed`` are those of ``buckets`` that failed, which satisfy nobody.
    """
    total = sum(buckets.values())
    if not total:
        return None
    satisfied, tolerated = bucket_of(threshold), bucket_of(4 * threshold)
    score = 0.0
    for bucket, count in buckets.items():
        good = count - failed.get(bucket, 0)
        score += good if bucket <= satisfied else good / 2 if bucket <= tolerated else 0
    return score / total


def distribution(buckets: Mapping[int, int], bars: int = 40) -> Sequence[tuple[float, float, int]]:
    """At most ``bars`` ranges of durations, each from, to and how many."""
    if not buckets:
        return []
    low, high = min(buckets), max(buckets)
    width = max(1, math.ceil((high - low + 1) / bars))
    counts: dict[int, int] = {}
    for bucket, count in buckets.items():
        counts[(bucket - low) // width] = counts.get((bucket - low) // width, 0) + count
    return [
        (_GAMMA ** (low + number * width - 1), _GAMMA ** (low + (number + 1) * width - 1), counts.get(number, 0))
        for number in range((high - low) // width + 1)
    ]
