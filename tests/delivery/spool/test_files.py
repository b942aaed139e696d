"""Tests of the files of a spool: nothing outside of it is read, written or changed, whatever lies in it."""

import json
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool import files
from brain_otel.delivery.spool.directory import (
    BOUNDS,
    DISCARDED,
    EVICTION_LOCK,
    LIMITS,
    SHIPPER_LOCK,
    TARGET,
    USERS_LOCK,
    Bounds,
    read_bounds,
    segments,
    targets,
)
from brain_otel.delivery.spool.discarded import take_discarded
from brain_otel.delivery.spool.eviction import evict
from brain_otel.delivery.spool.locks import is_locked, locked
from brain_otel.delivery.spool.reader import SpoolQueue
from brain_otel.delivery.spool.shipper import drain
from brain_otel.delivery.spool.state import read_state
from brain_otel.delivery.spool.stored_limits import read_limits, write_limits
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target

IS_ROOT = os.geteuid() == 0
NOBODY = 65534
"""The id of a user who owns nothing."""

TARGET_A = Target(kind="sentry", url="http://sentry.test/api/1/envelope/")


# -- what lies where a file of ours belongs -----------------------------------------------------------------


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def hard_link(path: Path, outside: Path) -> None:
    path.hardlink_to(outside)


def link_to_nothing(path: Path, outside: Path) -> None:
    path.symlink_to(outside.with_name("nothing"))


def pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def socket_file(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        directory = os.open(path.parent, os.O_RDONLY)
        bound.bind(f"/proc/self/fd/{directory}/{path.name}")  # a socket's path has at most 107 characters
        os.close(directory)


def file_of_another_user(path: Path, _: Path) -> None:
    path.write_bytes(b"theirs")
    path.chmod(0o666)
    os.chown(path, NOBODY, NOBODY)


def device(path: Path, _: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))  # /dev/full


def folder(path: Path, _: Path) -> None:
    path.mkdir()


Plant = Callable[[Path, Path], None]
REPLACED: list[Plant] = [
    link,
    link_to_nothing,
    pipe,
    socket_file,
    *([file_of_another_user, device] if IS_ROOT else []),
]
"""What is replaced where a file is written, and never opened where one is read."""


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A file outside of the spool, which nobody may touch."""
    path = tmp_path / "outside"
    path.write_text("precious")
    path.chmod(0o644)
    before = path.stat()
    yield path
    after = path.stat()
    assert path.read_text() == "precious"
    assert not path.with_name("nothing").exists()
    for name in ("st_mode", "st_mtime_ns", "st_size", "st_uid"):
        assert getattr(after, name) == getattr(before, name), name


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", TARGET_A, Bounds())
    for text in ("first", "second"):
        made.append(Record("error", text.encode()))
    made.close()
    while made._evicting is not None and made._evicting.is_alive():
        made._evicting.join(10)
    return made


def plant(what: Plant, path: Path, outside: Path) -> None:
    path.unlink(missing_ok=True)
    what(path, outside)


@pytest.mark.parametrize("what", REPLACED)
@pytest.mark.parametrize("name", [SHIPPER_LOCK, USERS_LOCK, EVICTION_LOCK])
def test_locks_are_regular_files(spool: Spool, outside: Path, what: Plant, name: str) -> None:
    """Anything else is replaced, and the lock works."""
    path = spool.directory / name
    plant(what, path, outside)
    assert not is_locked(path)
    with locked(path) as is_ours:
        assert is_ours
        assert is_locked(path)
        assert stat.S_ISREG(path.lstat().st_mode)
    spool.append(Record("error", b"third"))
    assert evict(spool.directory, Bounds()) == {}
    assert drain(spool.directory, 0.1) is not None


@pytest.mark.parametrize("what", [*REPLACED, folder])
def test_acknowledgements_are_regular_files(spool: Spool, outside: Path, what: Plant) -> None:
    """A sent record is not sent again, even if its acknowledgement cannot be written."""
    (segment,) = segments(spool.folder)
    plant(what, segment.ack_path, outside)
    queue = SpoolQueue(spool.folder)
    first, second = queue.take(2, lambda _: True)
    queue.done(first)
    queue.close()
    (left,) = SpoolQueue(spool.folder).take(9, lambda _: True)
    assert left.record == second.record


@pytest.mark.parametrize("what", [*REPLACED, hard_link, folder])
@pytest.mark.parametrize("name", [BOUNDS, TARGET, LIMITS, DISCARDED])
def test_small_files_are_replaced_and_never_followed(spool: Spool, outside: Path, what: Plant, name: str) -> None:
    """No reader waits for a pipe; a writer puts a regular file there, if no folder is in the way."""
    path = (spool.directory if name == BOUNDS else spool.folder) / name
    plant(what, path, outside)
    read_bounds(spool.directory)
    assert read_limits(spool.folder) == {}
    assert take_discarded(spool.folder) == {}
    assert (targets(spool.directory) == {}) is (name == TARGET)
    read_state(spool.directory)
    if what is not folder:
        path.unlink(missing_ok=True)
        what(path, outside)
        files.write_atomically(path, "{}")
        assert stat.S_ISREG(path.lstat().st_mode)
        assert path.read_text() == "{}"


@pytest.mark.parametrize("what", REPLACED)
def test_segments_are_regular_files(spool: Spool, outside: Path, what: Plant) -> None:
    """Anything else with a segment's name is not sent, not read and not removed."""
    (segment,) = segments(spool.folder)
    foreign = segment.path.with_name(segment.path.name.replace(".errors.", ".traces."))
    rejected = segment.path.with_name(segment.path.name.replace(".errors.", ".refused."))
    what(foreign, outside)
    what(rejected, outside)
    kinds = [path.lstat().st_mode for path in (foreign, rejected)]
    assert [each.record.body for each in SpoolQueue(spool.folder).take(9, lambda _: True)] == [b"first", b"second"]
    (state,) = read_state(spool.directory).targets
    assert (state.records, state.rejected) == ({"error": 2}, [])
    assert [path.lstat().st_mode for path in (foreign, rejected)] == kinds


@pytest.mark.parametrize("what", [link, folder])
def test_a_folder_that_is_a_link_is_no_target(spool: Spool, tmp_path: Path, what: Plant) -> None:
    """Nor is one that holds links to another's files."""
    other = Spool(tmp_path / "other", TARGET_A, Bounds())
    other.append(Record("error", b"theirs"))
    planted = spool.directory / "00000000000000ff"
    what(planted, other.folder)
    if what is folder:
        for path in other.folder.iterdir():
            (planted / path.name).symlink_to(path)
    before = {path: path.read_bytes() for path in other.folder.iterdir()}
    assert list(targets(spool.directory)) == [spool.folder]
    assert read_state(spool.directory).records == 2
    drain(spool.directory, 0.2)
    evict(spool.directory, Bounds(max_bytes=0, max_age=0.0))
    assert {path: path.read_bytes() for path in other.folder.iterdir()} == before


# -- the directory ------------------------------------------------------------------------------------------


def folder_of_another_user(tmp_path: Path) -> Path:
    """Root may give one away; for others the root of the disk is one."""
    if not IS_ROOT:
        return Path("/usr")
    path = tmp_path / "theirs"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    os.chown(path, NOBODY, NOBODY)
    return path


def test_a_directory_of_another_user_is_not_used(tmp_path: Path) -> None:
    """Its mode stays, and nothing is created in it, whether it is writable or not."""
    path = folder_of_another_user(tmp_path)
    before = path.stat()
    with pytest.raises(PermissionError, match="it belongs to another user, with the id"):
        Spool(path, TARGET_A, Bounds()).append(Record("error", b"x"))
    with pytest.raises(PermissionError, match="it belongs to another user"):
        drain(path, 1.0)
    assert path.stat() == before


def test_a_shared_directory_is_not_used_and_not_closed(tmp_path: Path) -> None:
    """As `/tmp` is, which belongs to root: others have put something there."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "theirs").write_text("")
    with pytest.raises(PermissionError, match="other users may write to it, and it is not empty"):
        Spool(shared, TARGET_A, Bounds()).append(Record("error", b"x"))
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert [path.name for path in shared.iterdir()] == ["theirs"]


def test_a_directory_below_a_shared_one_is_used(tmp_path: Path) -> None:
    """Nobody else can remove or rename it there."""
    tmp_path.chmod(0o1777)
    made = Spool(tmp_path / "mine" / "spool", TARGET_A, Bounds())
    made.append(Record("error", b"x"))
    assert stat.S_IMODE((tmp_path / "mine" / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


@pytest.mark.parametrize(("mode", "is_empty"), [(0o777, True), (0o755, True), (0o2770, True), (0o755, False)])
def test_an_empty_directory_is_closed_and_another_keeps_its_mode(tmp_path: Path, mode: int, is_empty: bool) -> None:
    """A volume's own root may be open. Whoever may list a directory with other files still reads no record."""
    path = tmp_path / "spool"
    path.mkdir()
    path.chmod(mode)
    if not is_empty:
        (path / "lost+found").mkdir()
    made = Spool(path, TARGET_A, Bounds())
    made.append(Record("error", b"x"))
    assert stat.S_IMODE(path.stat().st_mode) & 0o777 == (0o700 if is_empty else mode)
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert read_state(path).records == 1


def test_a_directory_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    """Neither to write nor to read; the mode of its target stays. A link above it is followed."""
    real = tmp_path / "real"
    real.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(real)
    for use in (Spool(tmp_path / "link", TARGET_A, Bounds()).prepare, lambda: read_state(tmp_path / "link")):
        with pytest.raises(OSError, match="it is a symbolic link"):
            use()
    assert stat.S_IMODE(real.stat().st_mode) == 0o755
    assert list(real.iterdir()) == []
    Spool(tmp_path / "link" / "spool", TARGET_A, Bounds()).append(Record("error", b"x"))
    assert read_state(real / "spool").records == 1


def test_a_directory_that_is_opened_to_others_later_is_left(spool: Spool) -> None:
    """No further segment is begun there."""
    spool.append(Record("error", b"third"))
    spool.close()
    spool.directory.chmod(0o777)
    spool.folder.chmod(0o777)
    with pytest.raises(PermissionError):
        spool.append(Record("error", b"fourth"))
    assert read_state(spool.directory).records == 3


# -- small files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"a":' * 40_000, b" " * (2**18 + 1), b"\xff\xfe", b"1" * 9_999]
)
def test_json_is_read_within_bounds(tmp_path: Path, content: bytes) -> None:
    """In depth, in bytes, and in digits."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises((OSError, ValueError)):
        files.read_json(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (BOUNDS, {"max_bytes": 1e400, "max_age": 1}),
        (BOUNDS, {"max_bytes": 2**21, "max_age": -1}),
        (BOUNDS, {"max_bytes": 2**21, "max_age": float("nan")}),
        (BOUNDS, {"max_bytes": [], "max_age": 1}),
    ],
)
def test_bounds_that_mean_nothing_are_ignored(spool: Spool, name: str, content: object) -> None:
    """A shipper that took them would drop every record."""
    (spool.directory / name).write_text(json.dumps(content))
    assert read_bounds(spool.directory) == Bounds()


@pytest.mark.parametrize("until", [1e300, 1e400, float("nan"), "soon", None, []])
def test_a_limit_lasts_a_day_at_most(spool: Spool, until: object) -> None:
    write_limits(spool.folder, {"error": 10.0})
    data = json.loads((spool.folder / LIMITS).read_text())
    (spool.folder / LIMITS).write_text(json.dumps({**data, "until": {"error": until}}))
    assert all(0 < seconds <= 86_400 for seconds in read_limits(spool.folder).values())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["error", "x", 1e400]], {}),
        ([["error", "x", -5], ["error", "y", 2]], {("error", "y"): 2}),
        ([["e" * 9_999, "x", 1]], {("e" * 100, "x"): 1}),
        ([["error", "x", 1], "y"], {("error", "x"): 1}),
        ({"error": 1}, {}),
        ([["error", str(number), 1] for number in range(5_000)], {("error", str(n)): 1 for n in range(1_000)}),
    ],
)
def test_counts_are_read_within_bounds(spool: Spool, rows: object, expected: object) -> None:
    """They go to Sentry."""
    (spool.folder / DISCARDED).write_text(json.dumps(rows))
    assert take_discarded(spool.folder) == expected


@contextmanager
def no_room() -> Iterator[None]:
    """Let no file grow beyond ten bytes.

    A fixture would last until pytest has written the result, and a pytest that cannot write to its output ends.
    """
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_failed_replacement_leaves_nothing(tmp_path: Path) -> None:
    """Without room, and with a folder in the way; the file keeps its content."""
    (tmp_path / "kept.json").write_text("before")
    (tmp_path / "folder.json").mkdir()
    for name, text in (("kept.json", "x" * 11), ("new.json", "x" * 11), ("folder.json", "x")):
        with no_room(), pytest.raises(OSError, match=r"No space left|Is a directory|File too large"):
            files.write_atomically(tmp_path / name, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.json", "kept.json"]
    assert (tmp_path / "kept.json").read_text() == "before"


def test_a_rejected_record_without_room_leaves_nothing(tmp_path: Path) -> None:
    """Not a part of it, which would be shown as damaged."""
    with no_room(), pytest.raises(OSError, match="No space left"):
        files.write_new(tmp_path / "rejected", b"x" * 100)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_killed_processes_are_removed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """When they are old, in the directory and in each target; other hidden files stay."""
    parts = [spool.directory / ".spool.json.4711-1234567", spool.folder / ".target.json.4711-1", spool.folder / ".x"]
    for path in parts:
        path.write_text("{")
    evict(spool.directory, Bounds())
    assert all(path.exists() for path in parts)
    monkeypatch.setattr(files, "STALE", -1.0)
    evict(spool.directory, Bounds())
    assert [path.exists() for path in parts] == [False, False, True]
