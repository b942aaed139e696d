"""An error event is the same with and without the fast paths of its frames."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import run_python

Json = dict[str, Any]

FILE = """
file_format: "1.1"
tracer_provider:
  processors: [{sentry: OPTIONS}]
distribution:
  brain_otel:
    fast_paths: FAST
    sentry: {dsn: "${SENTRY_DSN}"}
"""

SCRIPT = r"""
import itertools, logging, sys
import brain_otel
import sentry_sdk
from brain_otel.runtime import quiet
quiet.MAX_SECONDS = quiet.MAX_CPU_SECONDS = quiet.SLOW = 1_000  # else a busy machine shows some objects by class
brain_otel.setup(config_file=sys.argv[1])

class Odd:
    def __repr__(self):
        return "Odd()"

def fail(depth, password="hunter22", odd=Odd()):
    items = {"a": [1, 2.5, None, True], "token": "s3cret-value", "nested": {"b": (1, "x" * 300)}}
    long_line = None or "----------------------------------------------------------------------"
    api_key = "AKIAIOSFODNN7EXAMPLE"
    if depth:
        fail(depth - 1)
    raise ValueError(f"no mission {depth}")

def odd_frames(event, hint):
    for value in (event.get("exception") or {}).get("values", ()):
        value["stacktrace"]["frames"][0]["vars"] = {"odd": Odd(), "when": float("nan")}
        value["stacktrace"]["frames"][0]["data"] = {1: Odd()}
        value["stacktrace"]["frames"][-1]["pre_context"] = ["text", 7, {"a": Odd()}]
        value["stacktrace"]["frames"][-1]["context_line"] = {"a": 1}
    return event

captures = itertools.count(10)

def begin():
    sentry_sdk.set_tag("capture", next(captures))

for number in range(2):  # the second time from the caches
    begin()
    try:
        fail(3)
    except ValueError as error:
        brain_otel.capture_exception(error)
    begin()
    try:
        try:
            fail(0)
        except ValueError as error:
            raise RuntimeError("wrapped") from error
    except RuntimeError as error:
        brain_otel.capture_exception(error)
    begin()
    try:
        raise ExceptionGroup("several", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])
    except ExceptionGroup:
        logging.getLogger("shop").exception("failed for %s", "bob")
    begin()
    brain_otel.capture_message("hello", level="warning")
    begin()
    with sentry_sdk.new_scope() as scope:
        scope.add_event_processor(odd_frames)
        try:
            fail(1)
        except ValueError as error:
            sentry_sdk.capture_exception(error)
    brain_otel.flush(10)
"""

OWN = re.compile(r"service.instance.id|event_id|timestamp|trace_id|span_id|thread_id|lineno|threads")


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(each) for key, each in value.items() if not re.fullmatch(OWN, key)}
    return [without_ids(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("options", ["{}", "{attach_stacktrace: true}", "{max_value_length: 50}"])
def test_events_are_the_same_with_and_without_fast_paths(ingest: SentryIngest, tmp_path: Path, options: str) -> None:
    """Errors of four kinds, messages, and frames that an event processor has changed, twice each."""
    sent: list[list[Json]] = []
    for fast in ("true", "false"):
        ingest.clear()
        file = tmp_path / f"{fast}.yaml"
        file.write_text(FILE.replace("FAST", fast).replace("OPTIONS", options))
        done = run_python(SCRIPT, {"SENTRY_DSN": ingest.dsn}, pythonpath=[ROOT], arguments=[str(file)])
        assert done.returncode == 0, done.stderr
        assert "brain_otel failed" not in done.stderr
        ingest.wait_for(lambda it: len(it.events) == 10)
        sent.append(sorted(ingest.events, key=lambda event: int(event["tags"]["capture"])))
    assert "hunter22" not in json.dumps(sent)
    for first, second in zip(without_ids(sent[0]), without_ids(sent[1]), strict=True):
        assert json.dumps(first, sort_keys=True, indent=1) == json.dumps(second, sort_keys=True, indent=1)
