"""No request, answer or call changes what an application answers: each is tried without telemetry and with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.process import run_python
from tests.support.tiers import quick_first

CONFIGURATION = """
file_format: "1.1"
propagator:
  composite: [{tracecontext: }, {baggage: }, {sentry: }]
tracer_provider:
  processors: [{memory: }]
distribution:
  brain_otel:
    fast_paths: FAST
    instrumentation: {fastapi: KIND, sqlalchemy_connect_spans: true}
"""
METRICS = """
meter_provider:
  readers: [{periodic: {exporter: {memory: }}}]
"""
WAYS = [("true", "contrib", ""), ("false", "contrib", ""), ("true", "native", ""), ("false", "contrib", METRICS)]
BROKEN = [("true", "on_start"), ("false", "on_start"), ("true", "on_end"), ("false", "on_end")]


def run(file: Path, fast: str, kind: str, metrics: str = "", *broken: str) -> tuple[dict[str, Any], list[str]]:
    file.write_text(CONFIGURATION.replace("FAST", fast).replace("KIND", kind) + metrics)
    program = ROOT / "tests" / "apps" / "hostile.py"
    done = run_python(program, timeout=90, pythonpath=[ROOT], arguments=[str(file), *broken])
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "brain_otel failed" in line]
    return json.loads(done.stdout.splitlines()[-1]), lines


@pytest.mark.parametrize(("fast", "kind", "metrics"), quick_first(WAYS))
def test_a_hostile_request_gets_the_answer_that_it_gets_without_telemetry(
    tmp_path: Path, fast: str, kind: str, metrics: str
) -> None:
    """ASGI scopes as other servers make them, bytes on connections to uvicorn, and calls of each client."""
    result, lines = run(tmp_path / "file.yaml", fast, kind, metrics)
    assert result["asked"] > 700
    assert result["different"] == {}
    assert len({line.partition("while ")[2].partition(";")[0] for line in lines}) == len(lines)


@pytest.mark.parametrize(("fast", "where"), quick_first(BROKEN))
def test_a_span_processor_that_raises_changes_no_answer(tmp_path: Path, fast: str, where: str) -> None:
    """OpenTelemetry's SDK calls the application's span processors unguarded; each place is logged once."""
    result, lines = run(tmp_path / "file.yaml", fast, "contrib", "", where)
    assert result["different"] == {}
    assert 0 < len(lines) < 15
