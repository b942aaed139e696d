"""Tests of the log lines about one target."""

import pytest

from brain_otel.delivery.target_log import TargetLog
from brain_otel.runtime.limited_log import log_counts


def test_each_kind_of_line_comes_once_with_counts(caplog: pytest.LogCaptureFixture) -> None:
    """What was rejected, partly rejected, accepted with a warning, limited and refused."""
    log = TargetLog("http://collector")
    for _ in range(3):
        log.rejected("error", "HTTP 400: no")
        log.accepted("otlp_traces", 5, "bad spans")
        log.accepted("otlp_logs", 0, "deprecated")
        log.accepted("otlp_traces", 0, "")
        log.limited({"error": 60.0}, {"transaction": 86_400.0, "": 7_200.0})
        log.limited({}, {})
    assert [each.getMessage() for each in caplog.records] == [
        "http://collector rejected records: 1 error (HTTP 400: no)",
        "http://collector rejected a part of what it accepted: 5 otlp_traces (bad spans)",
        "http://collector accepted records with a warning: otlp_logs (deprecated)",
        "http://collector has set rate limits, and records wait: error for 60 s",
        "http://collector refuses records for so long that they are dropped: "
        "transaction for 86400 s, everything for 7200 s",
    ]
    caplog.clear()
    log_counts()
    assert "http://collector rejected a part of what it accepted: 10 otlp_traces (bad spans)" in caplog.messages
    assert "http://collector accepted records with a warning: otlp_logs (deprecated) (2 times)" in caplog.messages
