"""Durations by logarithmic buckets, from which percentiles and Apdex are read.

A bucket's width is 4 % of its value, so that what is read is at most 2 % off:
https://arxiv.org/abs/1908.10693 (DDSketch).
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ACCURACY = 0.02
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG = math.log(_GAMMA)

STEPS = (60, 3_600)
"""Seconds of a slot: minutes for short periods, hours for long ones."""


_LANE = 4
"""Bytes of a count in a histogram that is stored."""

_ROWS = 1_000
"""Histograms that are added before their lanes could overflow: none has more than four million durations a bucket."""


def bucket_of(duration: int) -> int:
    """The bucket of a duration in microseconds."""
    return math.ceil(math.log(duration) / _LOG - 1e-9) if duration > 1 else 0


def value_of(bucket: int) -> float:
    """The duration in microseconds for which the bucket stands."""
    return 2 * _GAMMA**bucket / (_GAMMA + 1) if bucket else 1.0


def key_of(duration: int, failed: int) -> int:
    """The place of a duration in a histogram: twice its bucket, one more if it failed."""
    return 2 * bucket_of(duration) + failed


def packed(counts: Mapping[int, int]) -> bytes:
    """A histogram to be stored: its first key, and the counts from there to the last one."""
    first = min(counts)
    lanes = array("I", bytes(_LANE * (max(counts) - first + 1)))
    for key, count in counts.items():
        lanes[key - first] = count
    if sys.byteorder == "big":
        lanes.byteswap()
    return first.to_bytes(2, "little") + lanes.tobytes()


def lanes_of(histogram: bytes) -> int:
    """A stored histogram as one number with a lane for each key: adding two adds all counts at once."""
    return int.from_bytes(histogram[2:], "little") << 8 * _LANE * int.from_bytes(histogram[:2], "little")


def joined(one: bytes, other: bytes) -> bytes:
    """The sum of two stored histograms."""
    first = min(one[:2], other[:2], key=lambda each: int.from_bytes(each, "little"))
    start = 8 * _LANE * int.from_bytes(first, "little")
    lanes = (lanes_of(one) + lanes_of(other)) >> start
    return first + lanes.to_bytes(-(-lanes.bit_length() // (8 * _LANE)) * _LANE, "little")


class Histogram:
    """Durations by bucket, and the failed ones among them."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._lanes = 0
        self._rows = 0

    def add(self, lanes: int) -> None:
        """Add a stored histogram, as :func:`lanes_of` reads it."""
        self._lanes += lanes
        self._rows += 1
        if self._rows == _ROWS:
            self._settle()

    def add_all(self, others: Iterable[Histogram]) -> None:
        """Add the durations of others."""
        for other in others:
            self._counts.update(other.counts)

    @property
    def counts(self) -> Counter[int]:
        """How many durations have each key."""
        self._settle()
        return self._counts

    def _settle(self) -> None:
        if not self._lanes:
            return
        lanes = array("I", self._lanes.to_bytes(-(-self._lanes.bit_length() // (8 * _LANE)) * _LANE, sys.byteorder))
        if sys.byteorder == "big":
            lanes.reverse()
        self._counts.update({key: count for key, count in enumerate(lanes) if count})
        self._lanes = self._rows = 0

    def split(self) -> tuple[dict[int, int], dict[int, int]]:
        """All durations by bucket, and the failed ones."""
        buckets: Counter[int] = Counter()
        failed: dict[int, int] = {}
        for key, count in self.counts.items():
            buckets[key >> 1] += count
            if key & 1:
                failed[key >> 1] = count
        return buckets, failed

    def figures(self, seconds: float, threshold: int) -> dict[str, Any]:
        """What a screen shows; durations are microseconds, ``threshold`` is Apdex's."""
        buckets, failed = self.split()
        found = summary(buckets, failed)
        count = found["count"]
        return {
            **found,
            "per_minute": count / seconds * 60,
            "failure_rate": found["failed"] / count if count else None,
            "apdex": apdex(buckets, failed, threshold),
            "total": sum(value_of(bucket) * each for bucket, each in buckets.items()),
        }


def summary(buckets: Mapping[int, int], failed: Mapping[int, int]) -> dict[str, Any]:
    """How many there are and how many failed, and percentiles in microseconds."""
    counts = {"count": sum(buckets.values()), "failed": sum(failed.values())}
    return {**counts, **{f"p{share}": percentile(buckets, share / 100) for share in (50, 95, 99)}}


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
