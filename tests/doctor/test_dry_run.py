"""The doctor runs ``setup()`` with real settings, and nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brain_otel.configuration.loading import read_settings
from brain_otel.doctor.dry_run import create_silent_destinations
from tests.doctor.command import doctor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.ingest import SentryIngest
    from tests.support.otlp import OtlpReceiver

BUSY_APP = """
import time
import brain_otel
brain_otel.setup()
from fastapi import FastAPI
app = FastAPI()
with brain_otel.start_transaction("at import"):
    brain_otel.capture_exception(ValueError("at import"))
time.sleep(1.5)
"""


@pytest.mark.parametrize("launcher", [False, True], ids=["setup()", "launcher"])
def test_an_inspected_application_sends_nothing(
    launcher: bool, healthy: dict[str, str], tmp_path: Path, ingest: SentryIngest, receiver: OtlpReceiver
) -> None:
    """Whatever it records while it is imported, and however long the import takes."""
    (tmp_path / "shop.py").write_text(BUSY_APP)
    env = {**healthy, "SENTRY_TRACES_SAMPLE_RATE": "1"}
    assert doctor("shop:app", "--offline", env=env, cwd=tmp_path, launcher=launcher).of("fault") == []
    assert (ingest.envelopes, receiver.requests) == ([], [])


def test_each_destination_is_replaced_by_a_silent_one(healthy: dict[str, str]) -> None:
    """It keeps its name and, for a metric reader, an exporter."""
    silent = create_silent_destinations(read_settings(healthy))
    assert [each.name for each in silent] == ["sentry", "otlp", "otlp", "otlp"]
    assert all(each.span_processor is None and each.log_record_processor is None for each in silent)
    assert [each.metric_exporter is not None for each in silent] == [False, False, False, True]
    assert all(each.flush(1.0) for each in silent)
