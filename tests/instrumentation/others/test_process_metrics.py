"""The process is measured where the file asks for it: by the registry's names, and without a cost at start-up."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.instrumentation.process import run_traced
from tests.support.tiers import thorough

FILE = """
file_format: "1.1"
tracer_provider: {processors: [{sentry: {}}]}
meter_provider: {readers: [{periodic: {interval: 3600000, exporter: {memory: {}}}}]}
distribution:
  brain_otel:
    sentry: {dsn: "${SENTRY_DSN}"}
    instrumentation:
      others: true
      BLOCK
"""

CODE = """
import json, os, sys
import brain_otel
brain_otel.setup()
from brain_otel.destinations.memory import MEMORY
from opentelemetry.metrics import get_meter_provider
late = sorted({"psutil", "opentelemetry.instrumentation.system_metrics"} & sys.modules.keys())
def collect():
    MEMORY.metrics.clear()
    brain_otel.flush()
    found = [metric for resource in list(MEMORY.metrics)[-1:] for each in resource.resource_metrics
             for scope in each.scope_metrics for metric in scope.metrics]
    return {m.name: [m.unit, [[dict(p.attributes), p.value] for p in m.data.data_points]]
            for m in found if not m.name.startswith("brain_otel.")}
MORE
print(json.dumps({"imported": late, "metrics": collect()}))
"""

ATTRIBUTES = {
    "process.cpu.time": ("s", [{"cpu.mode": "system"}, {"cpu.mode": "user"}]),
    "process.memory.usage": ("By", [{}]),
    "process.thread.count": ("{thread}", [{}]),
    "process.unix.file_descriptor.count": ("{file_descriptor}", [{}]),
    "cpython.gc.collections": ("{collection}", [{"cpython.gc.generation": number} for number in range(3)]),
}


def measured(folder: Path, block: str, more: str = "") -> dict[str, Any]:
    """Return what a process with `block` below `instrumentation` has imported at its start, and has measured."""
    file = folder / "file.yaml"
    file.write_text(FILE.replace("BLOCK", block))
    output = run_traced(CODE.replace("MORE", more), {"OTEL_CONFIG_FILE": str(file)}).output
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def test_the_process_is_measured_from_the_first_collection_on(tmp_path: Path) -> None:
    """Nothing of it is imported before."""
    found = measured(tmp_path, "system_metrics: true")
    assert found["imported"] == []
    named = {
        name: (unit, sorted((attributes for attributes, _ in points), key=str))
        for name, (unit, points) in found["metrics"].items()
    }
    assert named == ATTRIBUTES
    values = {name: [value for _, value in points] for name, (_, points) in found["metrics"].items()}
    assert all(value > 0 for name in ATTRIBUTES if "gc" not in name for value in values[name]), values


FORKED = """
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
before = collect()["process.unix.file_descriptor.count"][1][0][1]
read, write = os.pipe()
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which our own are
if os.fork() == 0:
    for each in held:
        os.close(each)
    os.write(write, json.dumps(collect()["process.unix.file_descriptor.count"][1][0][1]).encode())
    os._exit(0)
os.wait()
late = [before, int(os.read(read, 100))]
"""

TAKEN = """
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
WHEN
SystemMetricsInstrumentor(config={"process.context_switches": ["voluntary"]}).instrument(OPTIONS)
late = sorted(collect())
"""

CONTEXT_SWITCHES = ["process.context_switches"]


@thorough
def test_a_forked_process_measures_itself(tmp_path: Path) -> None:
    before, after = measured(tmp_path, "system_metrics: {}", FORKED)["imported"]
    assert before - after >= 40


@pytest.mark.parametrize(
    ("block", "more", "names"),
    [
        ("sqlite3: true", "late = sorted(collect())", []),
        ("system_metrics: false", "late = sorted(collect())", []),
        (
            "system_metrics: {config: {process.memory.virtual: null}}",
            "late = sorted(collect())",
            ["process.memory.virtual"],
        ),
        ("system_metrics: true", TAKEN.replace("WHEN", "").replace("OPTIONS", ""), CONTEXT_SWITCHES),
        (
            "system_metrics: true",
            TAKEN.replace("WHEN", "collect()").replace("OPTIONS", "meter_provider=get_meter_provider()"),
            CONTEXT_SWITCHES,
        ),
    ],
)
@thorough
def test_it_obeys_the_file_and_the_application(tmp_path: Path, block: str, more: str, names: list[str]) -> None:
    """An instrumentor that the application enables, before the first collection or after, takes the place of ours."""
    assert measured(tmp_path, block, more)["imported"] == names
