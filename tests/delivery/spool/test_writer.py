"""Tests of the queue on disk: what is written to it by one and read from it by another."""

import errno
import os
import resource
import shutil
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool import directory as layout
from brain_otel.delivery.spool.directory import Bounds, is_empty, read_bounds, segments, targets
from brain_otel.delivery.spool.discarded import take_discarded
from brain_otel.delivery.spool.eviction import evict
from brain_otel.delivery.spool.reader import SpoolQueue
from brain_otel.delivery.spool.shipper_process import ShipperSupervisor
from brain_otel.delivery.spool.state import read_state
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.delivery.until import until

TARGET = Target(kind="sentry", url="http://sentry.test/api/1/envelope/", headers={"X-Sentry-Auth": "secret"})


def error(text: str = "an error") -> Record:
    return Record("error", text.encode())


def trace(text: str = "a trace", spans: int = 3) -> Record:
    return Record("transaction", text.encode(), spans)


def spool(path: Path, bounds: Bounds = Bounds()) -> Spool:  # noqa: B008 - frozen
    made = Spool(path, TARGET, bounds)
    made.prepare()
    return made


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


def test_errors_go_first_and_each_kind_in_its_order(tmp_path: Path) -> None:
    """Whatever came between."""
    written = spool(tmp_path)
    for number in range(3):
        written.append(trace(f"trace {number}"))
        written.append(error(f"error {number}"))
    assert all_sent(SpoolQueue(written.folder)) == ["error 0", "error 1", "error 2", "trace 0", "trace 1", "trace 2"]


def test_everything_is_for_the_owner_alone(tmp_path: Path) -> None:
    """Directories 0700, files 0600, also where the directory was there before and open to others."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o755)
    written = spool(folder)
    written.append(error())
    queue = SpoolQueue(written.folder)
    queue.done(queue.take(1, lambda _: True)[0])
    written.append(error("refused"))
    queue.reject(queue.take(1, lambda _: True)[0], "no")
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_one_record_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no other process, and no crash, sees half of one that is small."""
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


def test_what_is_sent_is_not_sent_by_the_next_shipper(tmp_path: Path) -> None:
    """The place up to which it is sent is on disk, record by record."""
    written = spool(tmp_path)
    for number in range(5):
        written.append(error(str(number)))
    first = SpoolQueue(written.folder)
    for each in first.take(2, lambda _: True):
        first.done(each)
    assert taken(SpoolQueue(written.folder)) == ["2", "3", "4"]


def test_what_is_sent_out_of_turn_is_not_sent_again(tmp_path: Path) -> None:
    """The third has been sent, the second not: that is on disk too."""
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


def test_a_segment_goes_when_it_is_sent_and_nobody_writes_to_it(tmp_path: Path) -> None:
    """One that is open stays, for more may come."""
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


def test_segments_are_closed_by_size_and_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """While twenty times as much is written as there is room for; the directory is never over its bound."""
    bounds = Bounds(max_bytes=2**20)
    written = spool(tmp_path, bounds)
    for number in range(20_000):
        written.append(trace(f"{number:06d}" + "t" * 1_000))
        if number % 100 == 0:
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
    assert traces == list(range(20_000 - len(traces), 20_000))
    gone = 20_000 - len(traces)
    assert take_discarded(written.folder) == {
        ("transaction", "cache_overflow"): gone,
        ("span", "cache_overflow"): 3 * gone,
    }
    assert take_discarded(written.folder) == {}


def test_errors_go_too_when_there_is_nothing_else(tmp_path: Path) -> None:
    """The bound is a bound."""
    bounds = Bounds(max_bytes=2**20)
    written = spool(tmp_path, bounds)
    for number in range(3_000):
        written.append(error(f"{number:06d}" + "e" * 1_000))
    if written._evicting is not None:
        written._evicting.join(10)
    assert usage(tmp_path) <= bounds.max_bytes
    sent = [int(each[:6]) for each in all_sent(SpoolQueue(written.folder))]
    assert sent == list(range(3_000 - len(sent), 3_000))


def test_what_is_too_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the machine's time since its start; a clock that is set changes nothing."""
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


def test_after_a_restart_of_the_machine_the_clock_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other."""
    bounds = Bounds(max_age=600.0)
    written = spool(tmp_path, bounds)
    written.append(error())
    monkeypatch.setattr(layout, "boot_id", lambda: "ffffffff")
    assert evict(tmp_path, bounds) == {}
    now = time.time()
    monkeypatch.setattr("brain_otel.delivery.spool.directory.time.time", lambda: now + 601)
    assert evict(tmp_path, bounds) == {written.folder: {"error": 1}}


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    """Files of another version, of somebody else, a target that cannot be read; none of it is sent or removed."""
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


def test_a_damaged_segment_costs_what_is_damaged(tmp_path: Path) -> None:
    """The records before and behind are sent, and the segment goes."""
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


def test_an_acknowledgement_that_is_nonsense(tmp_path: Path) -> None:
    """Behind the end of the file: there is nothing to send, and the segment goes."""
    written = spool(tmp_path)
    written.append(error())
    written.close()
    (segment,) = segments(written.folder)
    segment.ack_path.write_bytes(b"\xff" * 8)
    queue = SpoolQueue(written.folder)
    assert taken(queue) == []
    assert segments(written.folder) == []


def test_a_directory_that_is_removed_is_made_again(tmp_path: Path) -> None:
    """With all that describes it."""
    written = spool(tmp_path / "spool")
    written.append(error("before"))
    until(lambda: written._evicting is None or not written._evicting.is_alive())  # it has a lock's file there
    shutil.rmtree(tmp_path / "spool")
    written.append(error("after"))
    assert all_sent(SpoolQueue(written.folder)) == ["after"]
    assert list(targets(tmp_path / "spool").values()) == [TARGET]


def test_a_segment_that_is_removed_costs_what_was_in_it(tmp_path: Path) -> None:
    """Evicted by another process, say: what comes later is in another."""
    written = spool(tmp_path)
    written.append(error("before"))
    segments(written.folder)[0].remove()
    written.append(error("after"))
    assert all_sent(SpoolQueue(written.folder)) == ["after"]


def test_a_write_that_ends_half_way_leaves_nothing(tmp_path: Path) -> None:
    """The kernel takes a part of a record and refuses the rest, as it does when a disk is full."""
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


def test_room_is_looked_for_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is full, and stays so, a request does not wait each time until all was looked through."""
    looked: list[Path] = []

    def look(directory: Path, bounds: Bounds) -> Any:
        looked.append(directory)
        return evict(directory, bounds)

    monkeypatch.setattr("brain_otel.delivery.spool.writer.evict", look)
    opened = spool(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    opened.append(error("first"))
    until(lambda: len(looked) == 1)  # as each process does when it has begun
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


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """An error of the system's, which who writes has to handle."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        Spool(tmp_path / "file" / "spool", TARGET, Bounds()).append(error())


def test_a_directory_of_somebody_else_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that others may write to, and that we cannot close to them; when that is put right, it is used."""

    def refused(self: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, f"chmod {mode:o} {self}")

    spool(tmp_path)
    written = Spool(tmp_path, TARGET, Bounds())
    tmp_path.chmod(0o777)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", refused)
        for _ in range(2):
            with pytest.raises(PermissionError):
                written.append(error())
    assert segments(written.folder) == []
    written.append(error())
    assert all_sent(SpoolQueue(written.folder)) == ["an error"]


def test_a_forked_child_writes_for_itself(tmp_path: Path) -> None:
    """To segments of its own; the parent's are not closed by it."""
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


def test_the_bounds_are_there_for_who_has_no_configuration(tmp_path: Path) -> None:
    """The shipper's process; nonsense is the default."""
    spool(tmp_path, Bounds(2**21, 700.0))
    assert read_bounds(tmp_path) == Bounds(2**21, 700.0)
    (tmp_path / layout.BOUNDS).write_text("[]")
    assert read_bounds(tmp_path) == Bounds()


def test_what_was_refused_is_kept_with_its_reason(tmp_path: Path) -> None:
    """A hundred of them, the latest."""
    written = spool(tmp_path)
    for _ in range(110):
        written.append(error())
    queue = SpoolQueue(written.folder)
    for number, each in enumerate(queue.take(110, lambda _: True)):
        queue.reject(each, f"HTTP 413: {number}")
    evict(tmp_path, Bounds())
    (state,) = read_state(tmp_path).targets
    assert state.rejected == [("error", f"HTTP 413: {number}") for number in range(10, 110)]
    assert state.records == {}


def test_a_target_comes_back_as_it_was(tmp_path: Path) -> None:
    """From its file, and nothing else is taken for one."""
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
            Target.from_json(text)
    assert "secret" not in repr(TARGET)


def test_the_external_shipper_is_not_started(tmp_path: Path) -> None:
    """What is spooled is another's to send."""
    shipping = ShipperSupervisor(tmp_path, "external")
    shipping.wake(TARGET.id)
    assert shipping._thread is None
