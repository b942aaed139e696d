"""Open pages are told that the data have changed."""

import time
from pathlib import Path

from tests.support.process import SLACK
from tests.support.viewer import RunningViewer, error


def test_a_change_is_told_within_a_second(viewer: RunningViewer) -> None:
    with viewer._client.stream("GET", "/live") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 1000"
        began = time.monotonic()
        viewer.server.request("POST", "/stream", content=b'{}\n{"type":"attachment","length":2}\n{}\n')
        assert next(line for line in lines if line.startswith("event")) == "event: change"
        assert time.monotonic() - began < 1 + SLACK


def test_the_changes_of_another_viewer_are_told(tmp_path: Path) -> None:
    """They share the file."""
    with (
        RunningViewer(tmp_path) as one,
        RunningViewer(tmp_path) as other,
        one._client.stream("GET", "/live") as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        other.send(("event", error()))
        assert next(line for line in lines if line.startswith("event")) == "event: change"


def test_an_open_page_does_not_keep_the_viewer(tmp_path: Path) -> None:
    """It ends on SIGTERM."""
    with RunningViewer(tmp_path) as viewer, viewer._client.stream("GET", "/live"):
        viewer.server.terminate(10)
