"""Tests of records and their frame."""

from brain_otel.delivery.record import CATEGORIES, HEADER, Record, framed


def test_the_category_decides_the_priority() -> None:
    """OTLP's logs go with the errors, which are among them."""
    priorities = {category: Record(category, b"").priority for category in CATEGORIES}
    assert {name for name, priority in priorities.items() if priority == "traces"} == {
        "transaction",
        "profile",
        "profile_chunk",
        "span",
        "otlp_traces",
        "otlp_metrics",
        "trace_metric",
        "log_item",
    }


def test_the_frame_is_that_of_version_1() -> None:
    """Spools contain it; a change needs another version."""
    assert HEADER.size == 24
    data = bytes.fromhex("424f52310100010001000000000000000200000030e3957a") + b"{}"
    assert framed(Record("error", b"{}", 1, 1)) == data
