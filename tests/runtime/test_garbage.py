"""The freeze of what exists when an application has started."""

import json
from pathlib import Path
from typing import Any

import pytest

from brain_otel.configuration.loading import read_settings
from tests.support import ROOT
from tests.support.process import run_python
from tests.support.tiers import quick_first

FILE = """
file_format: "1.1"
tracer_provider:
  processors: [{sentry: }]
distribution: {brain_otel: {freeze_gc: FREEZE}}
"""

SCRIPT = """
import gc, json, os, sys
import brain_otel
from brain_otel.runtime import garbage as module
brain_otel.setup(config_file=sys.argv[1])
frozen = gc.get_freeze_count()
from fastapi import FastAPI
from fastapi.testclient import TestClient

app = FastAPI()
found = {}

@app.get("/")
def read() -> int:
    return gc.get_freeze_count()

class Cycle:
    alive = 0
    def __init__(self):
        self.cycle = self
        Cycle.alive += 1
    def __del__(self):
        Cycle.alive -= 1

def note(name):
    found[name] = gc.get_freeze_count() > frozen + module._FROZEN_BY_PYTHON

Cycle()
CASE
brain_otel.shutdown()
found["by setup"], frozen = frozen > 10_000, 0
note("after shutdown")
print(json.dumps(found | {"alive": Cycle.alive}))
"""

LIFESPAN = """
note("before")
with TestClient(app) as client:
    note("started")
    tracked = len(gc.get_objects())
    client.get("/")
    found["few are tracked"] = tracked < 5_000
"""
REQUESTS = """
client = TestClient(app)
client.get("/")
note("first request")
module.WARM_UP = 0.0
client.get("/")
note("warm")
"""
FORKED = """
gc.freeze()
child = os.fork()
if child == 0:
    gc.unfreeze()
    with TestClient(app):
        os._exit(gc.get_freeze_count() > module._FROZEN_BY_PYTHON)
found["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
gc.unfreeze()
"""


def run(tmp_path: Path, case: str, freeze: bool = True) -> dict[str, Any]:
    file = tmp_path / "file.yaml"
    file.write_text(FILE.replace("FREEZE", str(freeze).lower()))
    variables = {"SENTRY_DSN": "http://key@127.0.0.1:9/1"}
    done = run_python(SCRIPT.replace("CASE", case), variables, pythonpath=[ROOT], arguments=[str(file)], fresh=True)
    assert done.returncode == 0, done.stderr
    assert "brain_otel failed" not in done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(
    ("case", "freeze", "expected"),
    quick_first(
        [
            (LIFESPAN, True, {"before": False, "started": True, "few are tracked": True, "alive": 0}),
            (LIFESPAN, False, {"before": False, "started": False, "few are tracked": False}),
            (REQUESTS, True, {"first request": False, "warm": True, "alive": 0}),
            (f"gc.freeze()\n{LIFESPAN}\ngc.unfreeze()", True, {"before": True, "started": True, "alive": 1}),
            (f"gc.disable()\n{LIFESPAN}", True, {"started": False, "alive": 1}),
            (FORKED, True, {"child": 1}),
        ],
        3,
    ),
    ids=["lifespan", "off", "without a lifespan", "the application froze", "the application collects", "forked"],
)
def test_objects_are_frozen_once_the_application_has_started(
    tmp_path: Path, case: str, freeze: bool, expected: dict[str, Any]
) -> None:
    """Garbage in cycles is collected before, unless it is older than the end of set-up, where others are frozen.

    `shutdown()` leaves everything to the collector again.
    """
    assert run(tmp_path, case, freeze).items() >= {**expected, "by setup": freeze, "after shutdown": False}.items()


@pytest.mark.parametrize(
    ("environment", "expected"), [("production", True), ("staging", True), ("development", False), ("test", False)]
)
def test_packaged_files_freeze_where_a_service_runs_for_long(environment: str, expected: bool) -> None:
    assert read_settings({}, environment=environment).freeze_gc is expected


def test_a_variable_turns_it_off() -> None:
    assert read_settings({"BRAIN_OTEL_FREEZE_GC": "false"}, environment="production").freeze_gc is False
