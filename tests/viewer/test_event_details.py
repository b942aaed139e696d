"""What a page shows of an event, whatever the event holds."""

from typing import Any

import pytest

from brain_otel.viewer.event_details import details_of, tags_of


def test_the_innermost_exception_and_frame_come_first() -> None:
    """As a reader looks for them; a frame has the lines around its own."""
    frame = {"filename": "shop.py", "lineno": 8, "pre_context": ["a"], "context_line": "b", "post_context": ["c"]}
    outer, inner = {"type": "A"}, {"type": "B", "stacktrace": {"frames": [{"filename": "main.py"}, frame]}}
    first, second = details_of({"exception": {"values": [outer, inner]}})["exceptions"]
    assert (first["type"], second["type"]) == ("B", "A")
    assert [each["file"] for each in first["frames"]] == ["shop.py", "main.py"]
    lines = [(each["number"], each["text"], each["is_current"]) for each in first["frames"][0]["source"]]
    assert lines == [(7, "a", False), (8, "b", True), (9, "c", False)]


@pytest.mark.parametrize("value", ["x", ["x"], 1, None, {"values": {"a": "b"}}])
def test_a_part_of_another_type_shows_nothing(value: Any) -> None:
    """No part of an event needs to be what its name says."""
    shown = details_of({"exception": value, "breadcrumbs": value, "user": value, "extra": value, "request": value})
    assert (shown["exceptions"], shown["breadcrumbs"]) == ([], [])
    assert shown["user"] == shown["extra"] == (value if isinstance(value, dict) else {})


def test_tags_have_two_forms() -> None:
    """A mapping, or a list of pairs."""
    assert tags_of({"tags": {"a": 1}}) == tags_of({"tags": [["a", 1], ["b"], "c"]}) == {"a": "1"}
