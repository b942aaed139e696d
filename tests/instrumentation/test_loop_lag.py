"""A loop that cannot run what is due is seen in the metric of its lag."""

from pathlib import Path

from tests.instrumentation.process import run_traced

FILE = """
file_format: "1.1"
tracer_provider: {processors: [{sentry: {}}]}
meter_provider: {readers: [{periodic: {interval: 3600000, exporter: {memory: {}}}}]}
distribution: {brain_otel: {sentry: {dsn: "${SENTRY_DSN}"}}}
"""

CODE = """
import asyncio, time
import brain_otel
brain_otel.setup()
from brain_otel.destinations.memory import MEMORY

def points():
    brain_otel.flush()
    collected = [each for data in list(MEMORY.metrics)[-1:] for each in data.resource_metrics]
    scopes = [scope for each in collected for scope in each.scope_metrics]
    found = [metric for scope in scopes for metric in scope.metrics if metric.name == "brain_otel.event_loop.lag"]
    return [point for metric in found for point in metric.data.data_points]

async def main():
    with brain_otel.start_transaction("work", op="task"):
        pass
    time.sleep(0.75)
    while not points():
        await asyncio.sleep(0.05)

asyncio.run(main())
found, = points()
print(dict(found.attributes), found.max >= 0.4, found.count)
"""


def test_a_blocked_loop_is_late(tmp_path: Path) -> None:
    """The timer is due 0.25 seconds after the first trace, and the loop is blocked for 0.75."""
    file = tmp_path / "file.yaml"
    file.write_text(FILE)
    outcome = run_traced(CODE, {"OTEL_CONFIG_FILE": str(file)})
    assert outcome.output.splitlines()[-1] == "{} True 1"
