"""Tests of the search for records: a damaged or incomplete one is never taken for a record."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.delivery.record import CATEGORIES, DONE, DONE_OFFSET, HEADER, MAGIC, Record, framed
from brain_otel.delivery.spool.frames import MAX_SIZE, WINDOW, Found, Frames
from tests.support.tiers import quick_first
from tests.support.yardstick import milliseconds

FIRST = Record("error", b'{"event_id":"1"}\n{}', 1, 1_700_000_000_000_000_000)
SECOND = Record("transaction", bytes(range(256)) * 3, 7, 1_700_000_000_000_000_001)
DATA = framed(FIRST) + framed(SECOND)


def frames(data: bytes) -> Frames:
    return Frames(lambda start, length: data[start : start + length], len(data))


def records_in(data: bytes, *, sealed: bool) -> list[Found]:
    return list(frames(data).find(0, sealed=sealed))


def found(data: bytes, *, sealed: bool = True) -> list[Record]:
    return [each.record for each in records_in(data, sealed=sealed) if each.record is not None]


def test_records_are_found_in_order_with_their_offsets() -> None:
    """With category, quantity, time and body; the offsets cover the data without a gap."""
    places = list(records_in(DATA, sealed=True))
    assert [each.record for each in places] == [FIRST, SECOND]
    assert [(each.start, each.end) for each in places] == [(0, len(framed(FIRST))), (len(framed(FIRST)), len(DATA))]


def test_an_incomplete_record_is_not_found() -> None:
    """Cut off at each byte: only the record before it is found."""
    whole = len(framed(FIRST))
    for end in range(len(DATA)):
        assert found(DATA[:end]) == ([FIRST] if end >= whole else []), end
        assert found(DATA[:end], sealed=False) == ([FIRST] if end >= whole else []), end


def test_a_record_that_is_being_written_is_not_damaged() -> None:
    """The rest may follow. In a sealed file it cannot, and the part is skipped."""
    cut = DATA[:-1]
    assert [each.record for each in records_in(cut, sealed=False)] == [FIRST]
    assert [each.record for each in records_in(cut, sealed=True)] == [FIRST, None]


def test_a_damaged_byte_costs_one_record() -> None:
    """Each byte of the first record in turn, header and body; the second is still found."""
    whole = len(framed(FIRST))
    for index in range(whole):
        damaged = bytearray(DATA)
        damaged[index] ^= 0x40
        assert found(bytes(damaged)) == [SECOND], index


def test_one_byte_marks_a_record_as_done() -> None:
    """It is still a valid record."""
    data = bytearray(DATA)
    data[DONE_OFFSET : DONE_OFFSET + 1] = DONE
    assert [(each.record, each.is_done) for each in records_in(bytes(data), sealed=True)] == [
        (FIRST, True),
        (SECOND, False),
    ]


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_records_are_found_between_foreign_bytes(before: bytes, between: bytes) -> None:
    """Foreign bytes are no record, and hide none."""
    assert found(before + framed(FIRST) + between + framed(SECOND)) == [FIRST, SECOND]


@given(st.sampled_from(CATEGORIES), st.binary(max_size=5_000), st.integers(0, 0xFFFF), st.integers(1, 2**63))
def test_any_record_can_be_read_again(category: str, body: bytes, quantity: int, time: int) -> None:
    """Also a body that contains frames."""
    record = Record(category, body, quantity, time)
    inside = Record("error", framed(record) * 2, 1, time)
    assert found(framed(record) + framed(inside)) == [record, inside]


def test_a_body_that_contains_a_frame_is_one_record() -> None:
    """An incomplete record is not searched for records."""
    inner = framed(Record("error", b"inner"))
    outer = framed(Record("error", inner + b"x" * 1_000))
    assert records_in(outer[: HEADER.size + len(inner) + 10], sealed=False) == []
    (only,) = records_in(outer, sealed=False)
    assert only.record is not None
    assert only.record.body.startswith(inner)


def test_records_are_found_across_the_windows_of_a_long_file() -> None:
    """Small ones, one longer than a window, and small ones again; also after damage that spans a window."""
    many = [Record("error", b"%06d" % number * 50, 1, 1 + number) for number in range(5_000)]
    large = Record("error", bytes(range(256)) * (WINDOW // 100), 1, 9)
    before, after = b"".join(map(framed, many)), framed(large) + b"".join(map(framed, many))
    assert found(before + b"BOR1" * WINDOW + after) == [*many, large, *many]
    headers = list(frames(before + after).headers(0))
    assert headers == [("error", 1, len(each.body)) for each in (*many, large, *many)]


class Counted:
    """Data, and how many bytes of it were read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.bytes = 0

    def __call__(self, start: int, length: int) -> bytes:
        part = self._data[start : start + length]
        self.bytes += len(part)
        return part


def header(length: int) -> bytes:
    return HEADER.pack(MAGIC, 1, 0, 1, 1, length, 0)


@pytest.mark.parametrize(
    "pattern",
    [
        header(2**20),
        header(2**16),
        header(300),
        header(0),
        header(2**26),
        MAGIC,
        header(2**21)[:-1],
        MAGIC + header(99),
    ],
)
@pytest.mark.parametrize("sealed", quick_first([True, False]))
def test_overlapping_headers_cost_no_more_than_their_bytes(pattern: bytes, sealed: bool) -> None:
    """Every pattern fills a file. The work is bounded for each byte."""
    data = pattern * (2**21 // len(pattern)) + framed(FIRST)
    read = Counted(data)
    checked: list[Any] = []
    assert milliseconds(lambda: checked.extend(Frames(read, len(data)).find(0, sealed=sealed)), 5_000) < 5_000
    assert read.bytes < 8 * len(data)
    assert [each.record for each in checked if each.record is not None] in ([FIRST], [])
    assert sealed is False or checked[-1].end == len(data)
    read.bytes = 0
    assert len(list(Frames(read, len(data)).headers(0))) <= len(data) / HEADER.size
    assert read.bytes < 2 * len(data)


def test_a_long_file_is_searched_with_little_memory(tmp_path: Path) -> None:
    """Its headers promise bodies of megabytes, and it is longer than any segment; the rest counts as damaged."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        for number in range(40):
            file.seek(number * 2**21)
            file.write(header(2**21 - HEADER.size))
        file.truncate(MAX_SIZE + 2**30)
    descriptor = os.open(path, os.O_RDONLY)
    read = 0

    def pread(start: int, length: int) -> bytes:
        nonlocal read
        data = os.pread(descriptor, length, start)
        read += len(data)
        return data

    tracemalloc.start()
    checked = list(Frames(pread, MAX_SIZE + 2**30).find(0, sealed=True, with_bodies=False))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    os.close(descriptor)
    assert peak < 4 * 2**20
    assert read < 8 * MAX_SIZE
    assert {each.record for each in checked} == {None}
    assert sum(each.end - each.start for each in checked) == MAX_SIZE + 2**30


def test_a_file_that_becomes_shorter_ends_the_search() -> None:
    """Somebody cuts it off while it is read."""
    data = DATA + MAGIC * 3
    checked = Frames(lambda start, length: data[start : start + length], 2**22).find(0, sealed=True)
    assert [each.record for each in checked] == [FIRST, SECOND, None]
    assert list(Frames(lambda *_: b"", 2**22).find(0, sealed=True)) == [Found(0, 2**22, None)]
    assert list(Frames(lambda *_: b"", 2**22).headers(0)) == []
