"""Tests of the frame around a record: what is damaged or cut off is never taken for one."""

from hypothesis import given
from hypothesis import strategies as st

from brain_otel.delivery.record import CATEGORIES, DONE, DONE_OFFSET, HEADER, Record, framed, records_in

FIRST = Record("error", b'{"event_id":"1"}\n{}', 1, 1_700_000_000_000_000_000)
SECOND = Record("transaction", bytes(range(256)) * 3, 7, 1_700_000_000_000_000_001)
DATA = framed(FIRST) + framed(SECOND)


def found(data: bytes, *, sealed: bool = True) -> list[Record]:
    return [each.record for each in records_in(data, sealed=sealed) if each.record is not None]


def test_records_come_back_in_order_with_their_places() -> None:
    """Category, quantity, time and body; the places cover the data without a gap."""
    places = list(records_in(DATA, sealed=True))
    assert [each.record for each in places] == [FIRST, SECOND]
    assert [(each.start, each.end) for each in places] == [(0, len(framed(FIRST))), (len(framed(FIRST)), len(DATA))]


def test_a_record_that_is_cut_off_is_none_wherever_it_is() -> None:
    """At each of its bytes: the first record stands, of the second there is nothing."""
    whole = len(framed(FIRST))
    for end in range(len(DATA)):
        assert found(DATA[:end]) == ([FIRST] if end >= whole else []), end
        assert found(DATA[:end], sealed=False) == ([FIRST] if end >= whole else []), end


def test_what_is_still_being_written_is_left_alone() -> None:
    """The rest of a record may come; in a sealed file it will not, and is passed over."""
    cut = DATA[:-1]
    assert [each.record for each in records_in(cut, sealed=False)] == [FIRST]
    assert [each.record for each in records_in(cut, sealed=True)] == [FIRST, None]


def test_a_damaged_byte_costs_one_record() -> None:
    """Each byte of the first record in turn, header and body; the second is found all the same."""
    whole = len(framed(FIRST))
    for index in range(whole):
        damaged = bytearray(DATA)
        damaged[index] ^= 0x40
        assert found(bytes(damaged)) == [SECOND], index


def test_one_byte_says_that_a_record_is_done_with() -> None:
    """It is still a record, and known to have been sent."""
    data = bytearray(DATA)
    data[DONE_OFFSET : DONE_OFFSET + 1] = DONE
    assert [(each.record, each.is_done) for each in records_in(bytes(data), sealed=True)] == [
        (FIRST, True),
        (SECOND, False),
    ]


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_whatever_is_between_records_they_are_found(before: bytes, between: bytes) -> None:
    """Foreign bytes are no record, and hide none."""
    assert found(before + framed(FIRST) + between + framed(SECOND)) == [FIRST, SECOND]


@given(st.sampled_from(CATEGORIES), st.binary(max_size=5_000), st.integers(0, 0xFFFF), st.integers(1, 2**63))
def test_any_record_survives(category: str, body: bytes, quantity: int, time: int) -> None:
    """Whatever is in it, be it what looks like a header."""
    record = Record(category, body, quantity, time)
    inside = Record("error", framed(record) * 2, 1, time)
    assert found(framed(record) + framed(inside)) == [record, inside]


def test_a_record_knows_its_lane() -> None:
    """What tells of an error goes before what tells of a success, logs with the errors."""
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


def test_the_frame_is_the_one_that_is_on_disks() -> None:
    """Written once by this version; a change of it needs another version."""
    assert HEADER.size == 24
    data = bytes.fromhex("424f52310100010001000000000000000200000030e3957a") + b"{}"
    assert framed(Record("error", b"{}", 1, 1)) == data
