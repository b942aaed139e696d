"""Tests of the on-disk queue: one process writes it, another reads it."""

import errno
import json
import os
import resource
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool import directory as layout
from brain_otel.delivery.spool.directory import Bounds, is_empty, is_sent, read_bounds, segments, targets
from brain_otel.delivery.spool.discarded import keep_discarded, take_discarded
from brain_otel.delivery.spool.eviction import MAX_REJECTED, evict
from brain_otel.delivery.spool.reader import AHEAD_BYTES, SpooledRecord, SpoolQueue
from brain_otel.delivery.spool.shipper_process import ShipperSupervisor
from brain_otel.delivery.spool.state import read_state
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.support.waiting import until

TARGET = Target(kind="sentry", url="http://sentry.test/api/1/envelope/", headers={"X-Sentry-Auth": "secret"})


def error(text: str = "an error") -> Record:
    return Record("error", text.encode())


def trace(text: str = "a trace", spans: int = 3) -> Record:
    return Record("transaction", text.encode(), spans)


def spool(path: Path, bounds: Bounds = Bounds()) -> Spool:  # noqa: B008 - frozen
    made = Spool(path, TARGET, bounds)
    made.prepare()
    return made


@contextmanager
def few_descriptors(number: int) -> Iterator[None]:
    """Leave this process only a ``number`` of descriptors to open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 16, before[1]))
    held = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(number):
            os.close(held.pop())
        yield
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def usage(path: Path) -> int:
    return sum(segment.size() for folder in targets(path) for segment in segments(folder))


def taken(queue: SpoolQueue, count: int = 100) -> list[str]:
    return [each.record.body.decode() for each in queue.take(count, lambda _: True)]


def all_sent(queue: SpoolQueue) -> list[str]:
    sent = []
    while batch := queue.take(7, lambda _: True):
        for each in batch:
            sent.append(each.record.body.decode())
            queue.done(each)
    return sent


def test_errors_are_sent_first_and_each_kind_in_order(tmp_path: Path) -> None:
    written = spool(tmp_path)
    for number in range(3):
        written.append(trace(f"trace {number}"))
        written.append(error(f"error {number}"))
    assert all_sent(SpoolQueue(written.folder)) == ["error 0", "error 1", "error 2", "trace 0", "trace 1", "trace 2"]


def test_only_the_owner_can_read_the_directory(tmp_path: Path) -> None:
    """Directories 0700, files 0600, also in a directory that existed and was open to others."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o755)
    written = spool(folder)
    written.append(error())
    queue = SpoolQueue(written.folder)
    queue.done(queue.take(1, lambda _: True)[0])
    written.append(error("rejected"))
    queue.reject(queue.take(1, lambda _: True)[0], "no")
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_one_record_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no other process, and no crash, sees a part of a small record."""
    written = spool(tmp_path)
    written.append(error())
    sizes: list[int] = []
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    written.append(error("x" * 1_000))
    assert sizes == [1_024]


def test_the_next_shipper_does_not_send_a_sent_record(tmp_path: Path) -> None:
    """The acknowledged offset is on disk after each record."""
    written = spool(tmp_path)
    for number in range(5):
        written.append(error(str(number)))
    first = SpoolQueue(written.folder)
    for each in first.take(2, lambda _: True):
        first.done(each)
    assert taken(SpoolQueue(written.folder)) == ["2", "3", "4"]


def test_a_record_sent_out_of_order_is_not_sent_again(tmp_path: Path) -> None:
    """The third was sent and the second was not: that is on disk too."""
    written = spool(tmp_path)
    for number in range(4):
        written.append(error(str(number)))
    queue = SpoolQueue(written.folder)
    first, _, third, _ = queue.take(4, lambda _: True)
    queue.done(first)
    queue.done(third)
    assert taken(queue) == ["1", "3"]
    assert taken(SpoolQueue(written.folder)) == ["1", "3"]
    assert read_state(tmp_path).records == 2
    assert all_sent(SpoolQueue(written.folder)) == ["1", "3"]
    assert is_empty(tmp_path)


def rejected(queue: SpoolQueue, each: SpooledRecord) -> None:
    queue.reject(each, "bad")


@pytest.mark.parametrize("settle", [SpoolQueue.done, rejected])
def test_a_record_of_a_segment_that_is_gone_writes_nowhere(
    tmp_path: Path, settle: Callable[[SpoolQueue, SpooledRecord], None]
) -> None:
    """It failed, waits behind others, and its segment is dropped; its descriptor then stands for another file."""
    written = spool(tmp_path / "spool")
    for number in range(3):
        written.append(error(str(number)))
    queue = SpoolQueue(written.folder)
    first, second, _ = queue.take(3, lambda _: True)
    descriptors = {first.reader.descriptor}
    (segment,) = segments(written.folder)
    segment.remove()
    assert taken(queue) == []  # closes the segment
    files: list[BinaryIO] = []
    while not descriptors <= {each.fileno() for each in files}:
        other = tmp_path / f"other {len(files)}"
        other.write_bytes(bytes(100))
        files.append(other.open("r+b"))
    settle(queue, second)
    settle(queue, first)
    for file in files:
        file.close()
        assert Path(file.name).read_bytes() == bytes(100)


@pytest.mark.parametrize("descriptors", range(6))
def test_too_few_descriptors_are_no_empty_spool(tmp_path: Path, descriptors: int) -> None:
    """Nothing passes for sent, nothing is sent again, and all of it is sent when there are descriptors again."""
    written = spool(tmp_path)
    for number in range(3):
        written.append(error(str(number)))
    queue = SpoolQueue(written.folder)
    queue.done(queue.take(1, lambda _: True)[0])
    queue.close()
    written.close()
    queue = SpoolQueue(written.folder)
    with few_descriptors(descriptors):
        with suppress(OSError):
            assert not is_empty(tmp_path)
        with suppress(OSError):
            assert not is_sent(written.folder)
        with suppress(OSError):
            assert taken(queue) in ([], ["1", "2"])
    assert all_sent(queue) == ["1", "2"]
    assert is_empty(tmp_path)


def test_what_cannot_be_looked_at_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledgement, a size, bounds and a target without a descriptor are not missing ones."""
    written = spool(tmp_path)
    written.append(error())
    (segment,) = segments(written.folder)
    with few_descriptors(0):
        for look in (segment.acknowledged, segment.size, lambda: read_bounds(tmp_path)):
            with pytest.raises(OSError, match="Too many open files"):
                look()
    real = os.open

    def no_target(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path) == layout.TARGET:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", no_target)
    with pytest.raises(OSError, match="Too many open files"):
        targets(tmp_path)


def test_counts_are_kept_while_there_is_no_descriptor(tmp_path: Path) -> None:
    written = spool(tmp_path)
    for number in range(6):
        assert keep_discarded(written.folder, {("error", "send_error"): 1})
        with few_descriptors(number), suppress(OSError):
            taken_now = take_discarded(written.folder)
            if taken_now:
                assert keep_discarded(written.folder, taken_now)
    assert take_discarded(written.folder) == {("error", "send_error"): 6}


def test_a_sent_segment_is_removed_when_nobody_writes_to_it(tmp_path: Path) -> None:
    """An open one stays, because more records may come."""
    written = spool(tmp_path)
    written.append(error("first"))
    queue = SpoolQueue(written.folder)
    assert all_sent(queue) == ["first"]
    assert len(segments(written.folder)) == 1
    written.append(error("second"))
    assert all_sent(queue) == ["second"]
    written.close()
    assert taken(queue) == []
    assert list(written.folder.iterdir()) == [written.folder / layout.TARGET]
    assert is_empty(tmp_path)


def test_segments_are_bounded_in_size_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they can be dropped one by one."""
    bounds = Bounds(max_bytes=2**20, max_age=600.0)
    written = spool(tmp_path, bounds)
    for _ in range(100):
        written.append(error("x" * 1_000))
    assert len(segments(written.folder)) == 100 * 1_024 // bounds.segment_bytes + 1
    now = time.monotonic()
    monkeypatch.setattr("brain_otel.delivery.spool.writer.time.monotonic", lambda: now + bounds.segment_age + 1)
    before = len(segments(written.folder))
    written.append(error())
    assert len(segments(written.folder)) == before + 1


def test_traces_are_dropped_before_errors_and_the_oldest_first(tmp_path: Path) -> None:
    """Five times as much is written as fits; the directory never exceeds its bound."""
    bounds = Bounds(max_bytes=2**20)
    written = spool(tmp_path, bounds)
    for number in range(5_000):
        written.append(trace(f"{number:06d}" + "t" * 1_000))
        if number % 25 == 0:
            written.append(error(f"{number:06d}" + "e" * 1_000))
        if number % 500 == 0:
            assert usage(tmp_path) <= bounds.max_bytes
    if written._evicting is not None:
        written._evicting.join(10)
    assert usage(tmp_path) <= bounds.max_bytes
    sent = all_sent(SpoolQueue(written.folder))
    errors = [each for each in sent if each.endswith("e")]
    traces = [int(each[:6]) for each in sent if each.endswith("t")]
    assert len(errors) == 200
    assert traces == list(range(5_000 - len(traces), 5_000))
    gone = 5_000 - len(traces)
    assert take_discarded(written.folder) == {
        ("transaction", "cache_overflow"): gone,
        ("span", "cache_overflow"): 3 * gone,
    }
    assert take_discarded(written.folder) == {}


def test_errors_are_dropped_if_there_is_nothing_else(tmp_path: Path) -> None:
    bounds = Bounds(max_bytes=2**20)
    written = spool(tmp_path, bounds)
    for number in range(3_000):
        written.append(error(f"{number:06d}" + "e" * 1_000))
    if written._evicting is not None:
        written._evicting.join(10)
    assert usage(tmp_path) <= bounds.max_bytes
    sent = [int(each[:6]) for each in all_sent(SpoolQueue(written.folder))]
    assert sent == list(range(3_000 - len(sent), 3_000))


def test_old_records_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the uptime of the machine; setting the clock changes nothing."""
    bounds = Bounds(max_age=600.0)
    written = spool(tmp_path, bounds)
    written.append(error())
    written.close()
    now = time.time()
    for jump in (-400_000.0, 400_000.0):
        monkeypatch.setattr("brain_otel.delivery.spool.directory.time.time", lambda jump=jump: now + jump)
        assert evict(tmp_path, bounds) == {}
    uptime = layout.uptime()
    monkeypatch.setattr(layout, "uptime", lambda: uptime + 599)
    assert evict(tmp_path, bounds) == {}
    monkeypatch.setattr(layout, "uptime", lambda: uptime + 601)
    assert evict(tmp_path, bounds) == {written.folder: {"error": 1}}
    assert is_empty(tmp_path)


def test_the_clock_decides_the_age_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = Bounds(max_age=600.0)
    written = spool(tmp_path, bounds)
    written.append(error())
    monkeypatch.setattr(layout, "boot_id", lambda: "ffffffff")
    assert evict(tmp_path, bounds) == {}
    now = time.time()
    monkeypatch.setattr("brain_otel.delivery.spool.directory.time.time", lambda: now + 601)
    assert evict(tmp_path, bounds) == {written.folder: {"error": 1}}


def test_foreign_files_stay(tmp_path: Path) -> None:
    """Files of another version or of somebody else, and unreadable targets, are neither sent nor removed."""
    written = spool(tmp_path)
    written.append(error())
    foreign = [
        tmp_path / "notes.txt",
        tmp_path / "0123456789abcdef" / "target.json",
        written.folder / "01700000000000000000-00000000-0000000001-1-1.errors.v2",
        written.folder / "notes.errors.v1",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("something else")
    assert list(targets(tmp_path)) == [written.folder]
    assert all_sent(SpoolQueue(written.folder)) == ["an error"]
    evict(tmp_path, Bounds(max_bytes=0, max_age=0.0))
    assert all(path.read_text() == "something else" for path in foreign)


def test_only_damaged_records_are_lost(tmp_path: Path) -> None:
    """The records around them are sent, and the segment is removed."""
    written = spool(tmp_path)
    for number in range(3):
        written.append(error(f"error {number}"))
    written.close()
    (segment,) = segments(written.folder)
    data = bytearray(segment.path.read_bytes())
    data[len(data) // 2] ^= 1
    segment.path.write_bytes(bytes(data) + b"BOR1 and the rest is missing")
    queue = SpoolQueue(written.folder)
    assert all_sent(queue) == ["error 0", "error 2"]
    assert taken(queue) == []
    assert segments(written.folder) == []
    assert queue.damaged > 0


def test_an_acknowledgement_beyond_the_end_of_the_segment(tmp_path: Path) -> None:
    """There is nothing to send, and the segment is removed."""
    written = spool(tmp_path)
    written.append(error())
    written.close()
    (segment,) = segments(written.folder)
    segment.ack_path.write_bytes(b"\xff" * 8)
    queue = SpoolQueue(written.folder)
    assert taken(queue) == []
    assert segments(written.folder) == []


def test_a_removed_directory_is_created_again(tmp_path: Path) -> None:
    """With the files that describe it."""
    written = spool(tmp_path / "spool")
    written.append(error("before"))
    until(lambda: written._evicting is None or not written._evicting.is_alive())  # it has a lock file there
    shutil.rmtree(tmp_path / "spool")
    written.append(error("after"))
    assert all_sent(SpoolQueue(written.folder)) == ["after"]
    assert list(targets(tmp_path / "spool").values()) == [TARGET]


def test_a_removed_segment_is_replaced(tmp_path: Path) -> None:
    """For example after an eviction by another process: later records are in another segment."""
    written = spool(tmp_path)
    written.append(error("before"))
    segments(written.folder)[0].remove()
    written.append(error("after"))
    assert all_sent(SpoolQueue(written.folder)) == ["after"]


def test_a_partial_write_is_undone(tmp_path: Path) -> None:
    """The kernel writes a part of a record, as on a full disk."""
    written = spool(tmp_path)
    written.append(error("first"))
    size = segments(written.folder)[0].size()
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, limits[1]))
    try:
        with pytest.raises(OSError, match=r"No space left|File too large"):
            written.append(error("x" * 1_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    written.append(error("second"))
    queue = SpoolQueue(written.folder)
    assert all_sent(queue) == ["first", "second"]
    assert queue.damaged == 0


def test_a_full_disk_is_not_searched_for_room_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Because a request waits."""
    looked: list[Path] = []

    def count(directory: Path, bounds: Bounds) -> Any:
        looked.append(directory)
        return evict(directory, bounds)

    monkeypatch.setattr("brain_otel.delivery.spool.eviction.evict", count)
    opened = spool(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    opened.append(error("first"))
    until(lambda: len(looked) == 1)  # each process does this with its first record
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usage(tmp_path) + 10, before[1]))
        for _ in range(5):
            with pytest.raises(OSError, match="No space left"):
                opened.append(error("x" * 10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(looked) == 2
    opened.append(error("last"))
    assert all_sent(SpoolQueue(opened.folder)) == ["first", "last"]


def test_a_directory_that_cannot_be_created_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        Spool(tmp_path / "file" / "spool", TARGET, Bounds()).append(error())


def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    """Until its mode is changed, by somebody who knows what is in it."""
    spool(tmp_path)
    written = Spool(tmp_path, TARGET, Bounds())
    tmp_path.chmod(0o777)
    for _ in range(2):
        with pytest.raises(PermissionError, match="other users may write to it"):
            written.append(error())
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o777
    assert segments(written.folder) == []
    tmp_path.chmod(0o700)
    written.append(error())
    assert all_sent(SpoolQueue(written.folder)) == ["an error"]


def test_a_forked_child_writes_its_own_segments(tmp_path: Path) -> None:
    """Those of the parent stay open."""
    written = spool(tmp_path)
    written.append(error("before"))
    child = os.fork()
    if child == 0:
        try:
            written.append(error("child"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    queue = SpoolQueue(written.folder)
    assert sorted(all_sent(queue)) == ["before", "child"]
    taken(queue)
    assert len(segments(written.folder)) == 1  # the child's has gone with it
    written.append(error("parent"))
    assert all_sent(queue) == ["parent"]


def test_the_bounds_are_in_the_directory(tmp_path: Path) -> None:
    """For the shipper's process; malformed ones are replaced by the default."""
    spool(tmp_path, Bounds(2**21, 700.0))
    assert read_bounds(tmp_path) == Bounds(2**21, 700.0)
    (tmp_path / layout.BOUNDS).write_text("[]")
    assert read_bounds(tmp_path) == Bounds()


@pytest.mark.parametrize("given", [-1, 0, 1, 2**20 - 1])
def test_bounds_that_would_drop_everything_are_raised_to_the_least(tmp_path: Path, given: int) -> None:
    """Somebody else may have written the file."""
    (tmp_path / layout.BOUNDS).write_text(f'{{"max_bytes": {given}, "max_age": 5}}')
    assert read_bounds(tmp_path) == Bounds(2**20, 5.0)


def test_large_records_are_read_and_sent_few_at_once(tmp_path: Path) -> None:
    """Their bytes are bounded, not their number alone."""
    written = spool(tmp_path)
    for _ in range(6):
        written.append(Record("error", b"x" * (AHEAD_BYTES // 2)))
    queue = SpoolQueue(written.folder)
    assert len(queue.take(6, lambda _: True)) == 2
    for each in queue.take(6, lambda _: True):
        queue.done(each)
    assert len(queue.take(6, lambda _: True)) == 2


def test_rejected_records_are_kept_with_their_reasons(tmp_path: Path) -> None:
    """The latest hundred."""
    written = spool(tmp_path)
    for _ in range(110):
        written.append(error())
    queue = SpoolQueue(written.folder)
    for number, each in enumerate(queue.take(110, lambda _: True)):
        queue.reject(each, f"HTTP 413: {number}")
    assert len(read_state(tmp_path).targets[0].rejected) == MAX_REJECTED
    evict(tmp_path, Bounds())
    (state,) = read_state(tmp_path).targets
    assert state.rejected == [("error", f"HTTP 413: {number}") for number in range(10, 110)]
    assert len(segments(written.folder, layout.REJECTED)) == MAX_REJECTED  # the state shows no more in any case
    assert state.records == {}


def test_a_target_is_read_from_its_file(tmp_path: Path) -> None:
    """Anything else is an error."""
    spool(tmp_path)
    assert list(targets(tmp_path).values()) == [TARGET]
    for text in (
        "",
        "[]",
        "{}",
        '{"kind": "sentry"}',
        '{"kind": "x", "url": "http://x"}',
        '{"kind":"otlp","url":"x"}',
    ):
        with pytest.raises(ValueError, match=r".+"):
            Target.from_data(json.loads(text or "0"))
    assert "secret" not in repr(TARGET)


def test_the_address_of_a_target_holds_no_secret() -> None:
    """It is in log lines: no user, no password, no query, nothing that acts on a terminal."""
    for url, address in (
        ("http://user:secret@host:4318/v1/traces?key=secret", "http://host:4318/v1/traces"),
        ("https://secret@host?key=secret", "https://host"),
        ("http://a@b:secret@host/a@b", "http://host/a@b"),
        ("http://host/\x1b[2J\n", "http://host/\\x1b[2J\\n"),
    ):
        assert Target(kind="otlp", url=url).address == address


def test_the_external_shipper_is_not_started(tmp_path: Path) -> None:
    """Somebody else sends the records."""
    supervisor = ShipperSupervisor(tmp_path, "external")
    supervisor.wake(TARGET.id)
    assert supervisor._thread is None
