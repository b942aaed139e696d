"""Percentiles and Apdex from buckets, against the same from the durations themselves."""

import math
import random
from collections import Counter

import pytest

from brain_otel.viewer.store.durations import (
    ACCURACY,
    Histogram,
    apdex,
    bucket_of,
    distribution,
    joined,
    key_of,
    lanes_of,
    packed,
    percentile,
    value_of,
)


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


def test_histograms_are_added_without_loss() -> None:
    """As they are stored, and as they are read; against the same counted one by one."""
    chance = random.Random(11)
    expected: Counter[int] = Counter()
    stored, read = b"", Histogram()
    for _ in range(2_500):
        counts = Counter(key_of(int(chance.lognormvariate(9, 4)), chance.randrange(2)) for _ in range(3))
        counts[chance.choice(sorted(counts))] += 3_000_000
        expected += counts
        read.add(lanes_of(packed(counts)))
        if sum(expected.values()) < 1_000_000_000:
            stored = joined(stored, packed(counts)) if stored else packed(counts)
            so_far = expected.copy()
    assert read.counts == expected
    assert max(expected.values()) > 1 << 20
    again = Histogram()
    again.add(lanes_of(stored))
    assert again.counts == so_far
    whole = Histogram()
    whole.add_all([read, again])
    assert whole.counts == expected + so_far
    assert sum(whole.split()[0].values()) == sum(whole.counts.values())


def test_a_bucket_may_be_counted_very_often() -> None:
    """More often than a lane holds, over many slots."""
    most = Histogram()
    for _ in range(2_000):
        most.add(lanes_of(packed({3: 4_000_000, 4: 1})))
    assert most.counts == {3: 8_000_000_000, 4: 2_000}
