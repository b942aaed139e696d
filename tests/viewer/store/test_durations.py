"""Percentiles and Apdex from buckets, against the same from the durations themselves."""

import math
import random
from collections import Counter

import pytest

from brain_otel.viewer.store.durations import ACCURACY, apdex, bucket_of, distribution, percentile, value_of


def exact(values: list[int], share: float) -> int:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 7, 5_000])
def test_percentiles_are_within_the_accuracy(sigma: float, count: int) -> None:
    """Of durations that spread little and much."""
    chance = random.Random(count)
    values = [max(1, int(chance.lognormvariate(10, sigma))) for _ in range(count)]
    buckets = Counter(map(bucket_of, values))
    for share in (0.5, 0.95, 0.99, 1.0):
        found = percentile(buckets, share)
        assert found is not None
        assert found == pytest.approx(exact(values, share), rel=ACCURACY + 1e-9, abs=0.51)


@pytest.mark.parametrize("duration", [0, 1, 2, 3, 999, 1_000_000, 10**12])
def test_a_bucket_stands_for_its_durations(duration: int) -> None:
    assert value_of(bucket_of(duration)) == pytest.approx(max(duration, 1), rel=ACCURACY + 1e-9)


def test_apdex_counts_satisfied_and_half_of_the_tolerated() -> None:
    """A failed request satisfies nobody, however quick it was."""
    fast, slow, lost = (bucket_of(each) for each in (100_000, 1_000_000, 9_000_000))
    assert apdex({fast: 60, slow: 30, lost: 10}, {}, 500_000) == pytest.approx(0.75)
    assert apdex({fast: 60, slow: 30, lost: 10}, {fast: 10, slow: 10}, 500_000) == pytest.approx(0.6)
    assert apdex({}, {}, 500_000) is None


def test_a_distribution_has_every_duration_once() -> None:
    buckets = Counter(bucket_of(each) for each in range(1, 100_000, 37))
    bars = distribution(buckets)
    assert sum(count for _, _, count in bars) == buckets.total()
    assert len(bars) <= 40
    assert all(low < high for low, high, _ in bars)
