"""Counts of discarded events survive that several processes write them at once."""

import threading
from collections import Counter
from pathlib import Path

from brain_otel.delivery.spool.directory import EVICTION_LOCK
from brain_otel.delivery.spool.discarded import (
    ReportedCounts,
    keep_discarded,
    keep_reported,
    read_discarded,
    read_reported,
)
from brain_otel.delivery.spool.locks import locked

KEY = ("transaction", "queue_overflow")


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_reported_counts_wait_for_the_lock(tmp_path: Path) -> None:
    """While another process holds it, they are kept for the next time, which may have no counts of its own."""
    folder = _folder(tmp_path)
    counts = ReportedCounts(folder)
    with locked(folder.parent / EVICTION_LOCK):
        counts.add({KEY: 3})
        counts.add({KEY: 4}, timeout=0.01)
    assert read_reported(folder)[1] == {}
    counts.add({})
    assert read_reported(folder)[1] == {KEY: 7}
    counts.add({})
    assert read_reported(folder)[1] == {KEY: 7}


def test_workers_that_end_at_once_lose_no_counts(tmp_path: Path) -> None:
    """Each waits for its turn, where it has the time."""
    folder = _folder(tmp_path)
    threads = [threading.Thread(target=ReportedCounts(folder).add, args=({KEY: 2**n}, 5.0)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_reported(folder)[1] == {KEY: 2**8 - 1}


def test_a_disk_that_takes_no_counts_says_so(tmp_path: Path) -> None:
    """A folder that is a file stands for a disk that cannot be written to; the counts wait for a better one."""
    folder = tmp_path / "target"
    folder.touch()
    counts = ReportedCounts(folder)
    counts.add({KEY: 3})
    assert not keep_discarded(folder, {KEY: 3})
    assert not keep_reported(folder, {KEY: 3})
    folder.unlink()
    folder.mkdir()
    counts.add({})
    assert keep_discarded(folder, {KEY: 5})
    assert read_reported(folder)[1] == {KEY: 3}
    assert read_discarded(folder) == Counter({KEY: 5})
