"""The last step before sentry-sdk gathers a log or a metric: cuts and masks it.

These are sentry-sdk's ``before_send_log`` and ``before_send_metric``, for items of its own functions and of ours.
"""

import math
from collections.abc import Mapping
from typing import Any

from brain_otel.events.log_correlation import span_of_log
from brain_otel.privacy import FILTERED, policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.runtime.text import shortened

MAX_LOG_BODY, MAX_LOG_TEXT, MAX_LOG_TEXTS = 8_192, 4_096, 16_384
"""Characters of a log's text, of one attribute and of all attributes; 1,000 logs wait in memory."""

PARAMETER = "sentry.message.parameter."
"""Prefix of the attributes that have the arguments of a log's text."""


def before_send_telemetry(item: Any, hint: Any) -> Any:  # noqa: ARG001 - sentry-sdk passes it
    """A log or metric with its text and attributes cut and masked; sentry-sdk discards it if this raises."""
    by = policy()
    if _is_no_json(item.get("value")):
        raise ValueError("a metric's value is no number")
    given = {key: shortened(item[key], MAX_LOG_BODY) for key in ("body", "name") if isinstance(item.get(key), str)}
    texts = {key: by.text(text) for key, text in given.items()}
    attributes = masked_attributes(by, _cut(item["attributes"]))
    if texts != given:
        attributes = {key: _shown(key, value, texts.get("body", "")) for key, value in attributes.items()}
    return {**item, **_ids(item), **texts, "attributes": attributes}


def _ids(item: Any) -> dict[str, str]:
    """The ids of the current span, which sentry-sdk's own functions do not know."""
    span = None if item.get("span_id") else span_of_log()
    return {} if span is None else {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _cut(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """``attributes`` with their texts cut; together they have at most :data:`MAX_LOG_TEXTS` characters.

    A number that JSON cannot express becomes text: one would cost the whole batch.
    """
    left, kept = MAX_LOG_TEXTS, dict(attributes)
    for key, value in attributes.items():
        if isinstance(value, (str, list, tuple)):
            text, limit = value if isinstance(value, str) else str(value), min(MAX_LOG_TEXT, left)
            if len(text) > limit:
                kept[key] = text = shortened(text, limit)
            elif value is not text and any(map(_is_no_json, value)):
                kept[key] = text
            left = max(0, left - len(text))
        elif _is_no_json(value):
            kept[key] = str(value)
    return kept


def _is_no_json(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _shown(key: str, value: Any, body: str) -> Any:
    """An attribute of a log whose text has been masked: of the arguments, the text still shows some."""
    return FILTERED if key.startswith(PARAMETER) and str(value) not in body else value
