"""The queue on disk lists its folder seldom, and misses no segment."""

import os
from pathlib import Path

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool import reader
from brain_otel.delivery.spool.directory import Bounds, segments
from brain_otel.delivery.spool.reader import SpooledRecord, SpoolQueue
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target


@pytest.fixture(autouse=True)
def listings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were listed; each has just changed, and is not listed again as time passes."""
    listed: list[Path] = []

    def listing(folder: Path, *priorities: str) -> object:
        listed.append(folder)
        return segments(folder, *priorities)

    monkeypatch.setattr(reader, "segments", listing)
    monkeypatch.setattr(reader, "RELIST", 1e9)
    monkeypatch.setattr(reader, "CLOCK_TICK", 10**18)
    return listed


def spooled(directory: Path, count: int) -> Spool:
    spool = Spool(directory, Target(kind="sentry", url="http://127.0.0.1:9/"), Bounds())
    for number in range(count):
        spool.append(Record("error", b"%d" % number))
    spool.close()
    return spool


def take(queue: SpoolQueue) -> SpooledRecord | None:
    return next(iter(queue.take(1, lambda _: True)), None)


def test_acknowledgements_do_not_list_the_folder_again(tmp_path: Path, listings: list[Path]) -> None:
    """They change the folder's time, and a folder that has just changed may change again within the same tick."""
    queue = SpoolQueue(spooled(tmp_path, 30).folder)
    bodies = []
    while queued := take(queue):
        bodies.append(queued.record.body)
        queue.done(queued)
    queue.close()
    assert bodies == [b"%d" % number for number in range(30)]
    assert len(listings) <= 6


@pytest.mark.parametrize("is_first_done", [True, False])
def test_a_segment_that_comes_with_the_folders_last_change_is_found(tmp_path: Path, *, is_first_done: bool) -> None:
    """Its time is that of the change before; the folder is listed again when there is nothing left to send."""
    folder = spooled(tmp_path, 1).folder
    queue = SpoolQueue(folder)
    first = take(queue)
    assert first is not None
    if is_first_done:
        queue.done(first)
        assert take(queue) is None
    changed_at = folder.stat().st_mtime_ns
    spooled(tmp_path, 1)
    os.utime(folder, ns=(changed_at, changed_at))
    sent = queue.take(2, lambda queued: queued is not first)
    queue.close()
    assert [queued.record.body for queued in sent] == [b"0"]
