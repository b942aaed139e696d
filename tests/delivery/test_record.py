"""Tests of the frame of a record: a damaged or incomplete one is never taken for a record."""

from hypothesis import given
from hypothesis import strategies as st

from brain_otel.delivery.record import CATEGORIES, DONE, DONE_OFFSET, HEADER, Record, framed, records_in

FIRST = Record("error", b'{"event_id":"1"}\n{}', 1, 1_700_000_000_000_000_000)
SECOND = Record("transaction", bytes(range(256)) * 3, 7, 1_700_000_000_000_000_001)
DATA = framed(FIRST) + framed(SECOND)


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


def test_the_category_decides_the_priority() -> None:
    """Logs go with the errors."""
    priorities = {category: Record(category, b"").priority for category in CATEGORIES}
    assert {name for name, priority in priorities.items() if priority == "traces"} == {
        "transaction",
        "profile",
        "profile_chunk",
        "span",
        "otlp_traces",
        "otlp_metrics",
        "trace_metric",
    }


def test_the_frame_is_that_of_version_1() -> None:
    """Spools contain it; a change needs another version."""
    assert HEADER.size == 24
    data = bytes.fromhex("424f52310100010001000000000000000200000030e3957a") + b"{}"
    assert framed(Record("error", b"{}", 1, 1)) == data
