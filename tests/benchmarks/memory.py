"""Measures resident memory while a process records spans: ``-m tests.benchmarks.memory SPANS WARM_UP``.

The spool is small and no shipper sends from it, as in an outage without end.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types

from tests.support import ROOT

POINTS = 10
PER_TRACE = 25
WARM_UP = 50_000
"""Number of spans after which caches, queues and the allocator no longer grow."""

SETTINGS = """
file_format: "1.1"
tracer_provider:
  sampler: {{always_on: {{}}}}
  processors: [{{sentry: }}]
distribution:
  brain_otel:
    sentry: {{dsn: "http://key@127.0.0.1:1/1", profiles_sample_rate: 0}}
    delivery: {{spool: {{directory: "{spool}", max_bytes: 33554432}}, shipper: external}}
"""


def grow(spans: int, *, warm_up: int = WARM_UP, env: dict[str, str] | None = None) -> list[list[int]]:
    """Record spans in a process of its own, and return its resident bytes at intervals."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        variables = {**os.environ, "FOLDER": folder, **(env or {})}
        command = [sys.executable, "-m", "tests.benchmarks.memory", str(spans), str(warm_up)]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the spans were not recorded:\n{done.stderr}")
    points: list[list[int]] = json.loads(done.stdout)
    return points


def main(spans: int, warm_up: int) -> list[list[int]]:
    """Record the spans in this process."""
    import brain_otel

    folder = Path(os.environ["FOLDER"])
    file = folder / "telemetry.yaml"
    file.write_text(SETTINGS.format(spool=folder / "spool"))
    brain_otel.setup(config_file=file)
    step = spans // POINTS
    points = [_record(warm_up)]
    points += [_record(step) for _ in range(POINTS)]
    return [[step * number, resident] for number, resident in enumerate(points)]


def _record(spans: int) -> int:
    """Record spans, wait until they are written, and return the resident bytes."""
    import brain_otel

    for _ in range(spans // PER_TRACE):
        with brain_otel.start_transaction("process_mission", op="task", mission_id="m1"):
            for _ in range(PER_TRACE - 1):
                with brain_otel.start_span("db.query", "SELECT name FROM missions", rows=1) as span:
                    _keep(span)
    if not brain_otel.flush(10):
        raise SystemExit("what was recorded could not be written to the spool")
    resident: int = psutil.Process().memory_info().rss
    return resident


KEPT: list[Any] = []


def _keep(span: Any) -> None:
    """Leak every span, for the test that a leak is found."""
    if "LEAK" in os.environ:
        KEPT.append(span)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
