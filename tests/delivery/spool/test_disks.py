"""Tests of disks that fail and recover, and of directories with foreign files, with real processes."""

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from brain_otel.configuration.sections.delivery import CONNECTIONS
from brain_otel.delivery.spool.directory import LIMITS, is_empty, segments, targets
from brain_otel.delivery.spool.shipper import drain
from brain_otel.delivery.spool.state import read_state
from tests.delivery.application import Application, arrived, shipper_of, wait_until_sent
from tests.delivery.disks import disk, ways, without_overriding
from tests.support.ingest import SentryIngest
from tests.support.process import free_port
from tests.support.tiers import quick_first, thorough
from tests.support.waiting import PATIENCE, until


@pytest.mark.parametrize("way", quick_first(ways()))
def test_memory_replaces_a_full_disk_until_there_is_room(ingest: SentryIngest, tmp_path: Path, way: str) -> None:
    """Errors wait in memory meanwhile and are sent; one log line at the beginning and one at the end.

    A full disk has room for one more record when a sent segment is removed: that is an end and another beginning.
    """
    small = disk(way, tmp_path / "disk")
    app = Application(ingest.dsn, tmp_path / "disk", shipper="thread", pause=0.005, before=small.before)
    app.wait_for_first()
    pid = app.process.pid
    until(lambda: len(arrived(ingest)) > 20)
    small.fill(pid)
    before = len(arrived(ingest))
    until(lambda: len(arrived(ingest)) > before + 100)
    small.free(pid)
    ingest.respond = lambda: (500, {})
    until(lambda: read_state(small.seen_from_outside(pid)).records > 20)
    assert all(each.damaged == 0 for each in read_state(small.seen_from_outside(pid)).targets)
    ingest.respond = None
    before = len(arrived(ingest))
    until(lambda: len(arrived(ingest)) > before + 50)
    until(lambda: read_state(small.seen_from_outside(pid)).records < 10)
    app.process.terminate()
    captured = app.captured()
    begun, ended = (app.errors.count(words) for words in (b"cannot be written to", b"can be written to again"))
    assert begun == ended
    assert begun == 1 or (way != "size limit" and 1 < begun < 10), app.errors
    assert b"Traceback" not in app.errors
    if way == "size limit":  # where the disk outlives the process, so may what it had no time to send at its end
        drain(tmp_path / "disk", PATIENCE)
    assert set(captured) <= set(arrived(ingest))
    assert set(arrived(ingest).values()) == {1}


@pytest.mark.parametrize("way", quick_first(ways()))
def test_a_full_disk_stops_no_shipper(ingest: SentryIngest, tmp_path: Path, way: str) -> None:
    """It sends what is there, each record once, although it can note nothing before it is killed."""
    small = disk(way, tmp_path / "disk")
    app = Application(ingest.dsn, tmp_path / "disk", shipper="external", pause=0.001, before=small.before)
    app.wait_for_first()
    spool = small.seen_from_outside(app.process.pid)
    until(lambda: read_state(spool).records > 150)
    app.process.send_signal(signal.SIGSTOP)
    count = read_state(spool).records
    small.fill(app.process.pid)
    ingest.delay = 0.01
    for limit in (count // 3, count // 2):
        with shipper_of(spool) as shipper:
            if way == "size limit":
                small.fill(shipper.pid)
            until(lambda limit=limit: len(ingest.accepted) > limit, 20.0)  # type: ignore[misc]  # a lambda
            assert read_state(spool).shipper in (0, shipper.pid)
    with shipper_of(spool):
        until(lambda: read_state(spool).records == 0, 20.0)
    assert [path.name for path in spool.rglob(".*")] == []
    app.process.send_signal(signal.SIGCONT)
    app.process.terminate()
    captured = app.captured()
    assert len(set(captured) & set(arrived(ingest))) >= count // 2 - CONNECTIONS
    repeated = [event for event, times in arrived(ingest).items() if times > 1]
    # Those in flight when a shipper was killed. The limit also forbids to mark a record in the file that is there.
    assert way == "size limit" or len(repeated) <= 2 * CONNECTIONS, repeated


def test_memory_replaces_a_read_only_directory_until_it_is_writable(ingest: SentryIngest, tmp_path: Path) -> None:
    """Also for root, without the capability to write everywhere."""
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o500)
    app = Application(ingest.dsn, spool, shipper="thread", pause=0.005, before=without_overriding())
    app.wait_for_first()
    until(lambda: len(arrived(ingest)) > 50)
    assert list(spool.iterdir()) == []
    spool.chmod(0o700)
    until(lambda: any(segments(folder) for folder in targets(spool)))
    before = len(arrived(ingest))
    until(lambda: len(arrived(ingest)) > before + 50)
    app.process.terminate()
    captured = app.captured()
    with shipper_of(spool):
        wait_until_sent(spool, ingest, set(captured))
    assert set(arrived(ingest).values()) == {1}
    assert app.errors.count(b"cannot be written to") == 1, app.errors
    assert app.errors.count(b"can be written to again") == 1
    assert b"Traceback" not in app.errors


def spoil(spool: Path) -> tuple[list[Path], int]:
    """Damage the second record of each segment, and add foreign files; return these and the number of segments."""
    (folder,) = targets(spool)
    found = segments(folder)
    for segment in found:
        data = bytearray(segment.path.read_bytes())
        second = data.index(b"BOR1", 4)
        data[second + 3 : second + 4] = b"2"  # another version's record
        segment.path.write_bytes(bytes(data) + b"BOR1 and then the power went")
    younger = found[0].path.name.removesuffix("v1") + "v2"
    shutil.copytree(folder, spool / "00000000000000ff")
    target = json.loads((folder / "target.json").read_text())
    (spool / "00000000000000ff" / "target.json").write_text(json.dumps({**target, "kind": "sentry-3", "tenant": "x"}))
    foreign = [
        spool / "notes.txt",
        spool / "spool.json.v2",
        folder / younger,
        folder / "README",
        spool / "lost+found",
    ]
    for path in foreign[:-1]:
        path.write_text("something else")
    foreign[-1].mkdir()
    return [path for path in [*foreign, *(spool / "00000000000000ff").iterdir()] if path.is_file()], len(found)


@pytest.mark.parametrize("shipper", quick_first(["process", "thread"]))
def test_damaged_and_foreign_files_affect_no_other_record(ingest: SentryIngest, tmp_path: Path, shipper: str) -> None:
    """A record of another version, a torn end, a newer segment, another target: the rest is sent, and they stay."""
    left = Application(ingest.dsn, tmp_path, shipper="external", count=10).captured()
    foreign, spoilt = spoil(tmp_path)
    contents = {path: path.read_bytes() for path in foreign}
    app = Application(ingest.dsn, tmp_path, shipper=shipper, count=30)
    captured = app.captured()
    assert app.process.returncode == 0
    assert b"Traceback" not in app.errors
    with shipper_of(tmp_path):
        until(lambda: is_empty(tmp_path) and set(captured) <= set(arrived(ingest)))
    assert spoilt == 2  # errors and traces
    assert arrived(ingest) == Counter([left[0], *left[2:], *captured])
    assert len(ingest.transactions) == 39
    assert {path: path.read_bytes() for path in foreign} == contents


def test_two_services_and_two_versions_share_a_directory(ingest: SentryIngest, tmp_path: Path) -> None:
    """One shipper sends to both targets, of which one is down; nobody touches the files of a newer version."""
    away = free_port()
    other = Application(f"http://public@127.0.0.1:{away}/7", tmp_path, shipper="process", count=20)
    app = Application(ingest.dsn, tmp_path, shipper="process", count=20)
    captured, waiting = app.captured(), other.captured()
    until(lambda: set(captured) <= set(arrived(ingest)))
    assert arrived(ingest) == Counter(captured)
    with SentryIngest(port=away) as second, shipper_of(tmp_path):
        wait_until_sent(tmp_path, second, set(waiting))
        assert arrived(second) == Counter(waiting)


@thorough
def test_a_clock_that_jumps_changes_nothing(ingest: SentryIngest, tmp_path: Path) -> None:
    """By days, while Sentry is down or limits the rate: every record arrives once, none is dropped."""
    answers = {"status": 500}
    ingest.respond = lambda: (answers["status"], {"Retry-After": "1"})
    captured: list[str] = []
    apps: list[Application] = []
    with shipper_of(tmp_path, days=0) as shipper:
        for days, number in ((0, signal.SIGUSR1), (3, signal.SIGUSR2), (-6, signal.SIGUSR1)):
            app = Application(ingest.dsn, tmp_path, shipper="external", pause=0.01, env={"JUMPS": str(days)})
            app.wait_for_first()
            for process in (*(each.process for each in apps), app.process, shipper):
                os.kill(process.pid, number)
            apps.append(app)
            answers["status"] = 429 if number == signal.SIGUSR1 else 500
            before = len(ingest.envelopes)
            until(lambda before=before: len(ingest.envelopes) > before)  # type: ignore[misc]  # a lambda
        until(lambda: any((folder / LIMITS).exists() for folder in targets(tmp_path)))
    answers["status"] = 200
    for app in apps:
        app.process.terminate()
        captured += app.captured()
        assert b"Traceback" not in app.errors
        assert b"dropped" not in app.errors
    with shipper_of(tmp_path, days=-9):
        wait_until_sent(tmp_path, ingest, set(captured))
    assert len(captured) > 20
    assert set(arrived(ingest).values()) == {1}
    assert set(captured) <= set(arrived(ingest))
