"""Logs and metrics as they leave: cut and masked."""

import json
import logging
from typing import Any

import pytest
import sentry_sdk

from brain_otel.sentry import masked_items
from brain_otel.sentry.masked_items import before_send_telemetry
from tests.sentry.conftest import Connect
from tests.support.ingest import SentryIngest


def test_logs_and_metrics_of_sentry_sdk_are_masked(connect: Connect, ingest: SentryIngest) -> None:
    """The option `enable_logs` turns logs on; metrics are on by default."""
    connect(options={"enable_logs": True})
    logging.getLogger("shop").error("declined password=hunter2", extra={"api_key": "hunter2", "order": 7})
    sentry_sdk.metrics.count("orders", 1, attributes={"password": "hunter2", "shelf": 3})
    sentry_sdk.flush()
    ingest.wait_for(lambda it: len(it.items("log", "trace_metric")) == 2)
    (log,), (metric,) = (item.json["items"] for kind in ("log", "trace_metric") for item in ingest.items(kind))
    assert log["body"] == "declined password=[Filtered]"
    values = {name: log["attributes"][name]["value"] for name in ("api_key", "order")}
    assert values == {"api_key": "[Filtered]", "order": 7}
    values = {name: metric["attributes"][name]["value"] for name in ("password", "shelf")}
    assert values == {"password": "[Filtered]", "shelf": 3}
    assert not [item for item in ingest.items() if b"hunter2" in item.payload]


def test_logs_and_metrics_that_cannot_be_masked_are_discarded(
    connect: Connect, ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And counted."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("mask")

    bridge = connect(options={"enable_logs": True})
    monkeypatch.setattr(masked_items, "masked_attributes", fail)
    logging.getLogger("shop").warning("declined password=hunter2")
    sentry_sdk.metrics.count("orders", 1, attributes={"password": "hunter2"})
    bridge.flush()
    ingest.wait_for(lambda it: bool(it.client_reports))
    assert ingest.items("log", "trace_metric") == []
    discarded = {each["category"]: each["quantity"] for each in ingest.client_reports[0]["discarded_events"]}
    assert (discarded["log_item"], discarded["trace_metric"]) == (1, 1)


def test_sentrys_logs_and_metrics_are_masked() -> None:
    """With their names, bodies and attributes."""
    given = {"name": "orders token=hunter2", "value": 3.0, "attributes": {"api_key": "hunter2", "kept": 1}}
    masked = {"name": "orders token=[Filtered]", "value": 3.0, "attributes": {"api_key": "[Filtered]", "kept": 1}}
    assert before_send_telemetry(given, {}) == masked
    log = {"body": "password=hunter2", "severity_number": 9, "attributes": {}}
    assert before_send_telemetry(log, {}) == {**log, "body": "password=[Filtered]"}


def test_numbers_that_json_cannot_express_are_texts() -> None:
    """They would cost the batch. A metric of such a value is discarded, and counted by sentry-sdk."""
    numbers = {
        "a": float("nan"),
        "b": [1.0, float("inf")],
        "c": float("-inf"),
        "d": [1.0, 2.0],
        "e": 10**30,
        "f": True,
    }
    sent = before_send_telemetry({"body": "numbers", "attributes": numbers}, {})
    assert sent["attributes"] == {**numbers, "a": "nan", "b": "[1.0, inf]", "c": "-inf"}
    assert "NaN" not in json.dumps(sent, allow_nan=False)
    with pytest.raises(ValueError, match="no number"):
        before_send_telemetry({"name": "orders", "value": float("nan"), "attributes": {}}, {})


def test_arguments_of_a_masked_text_stay_if_it_shows_them() -> None:
    """For items of sentry-sdk's own functions too; other attributes stay."""
    item = {
        "body": "Ann: password=hunter2, 7",
        "attributes": {
            "sentry.message.parameter.name": "Ann",
            "sentry.message.parameter.it": "hunter2",
            "sentry.message.parameter.count": 7,
            "other": "hunter2",
        },
    }
    sent = before_send_telemetry(item, {})
    assert sent["body"] == "Ann: password=[Filtered], 7"
    assert [*sent["attributes"].values()] == ["Ann", "[Filtered]", 7, "hunter2"]
