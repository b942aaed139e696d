"""An exception that ends a thread or the process is told to each destination, with or without Sentry."""

import json
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import run_python

CODE = """
import json, logging, sys, threading
from brain_otel.destinations.memory import MEMORY
import brain_otel

brain_otel.setup()

class OwnThread(threading.Thread):
    def run(self):
        raise LookupError("own")

def fail():
    raise ValueError("thread")

def log():
    try:
        raise ValueError("logged")
    except ValueError:
        logging.getLogger("shop").exception("it failed")
        raise

def run(thread):
    thread.start()
    thread.join()

def stop():
    raise SystemExit(3)

with brain_otel.start_transaction("job") as job:
    trace_id = hex(job.get_span_context().trace_id)
    for target in (fail, log, stop):
        run(threading.Thread(target=target))
    run(OwnThread())
run(threading.Thread(target=fail))

def tell():
    brain_otel.flush()
    logs = [each.log_record for each in MEMORY.log_records]
    points = [
        (p.attributes["error.type"], p.attributes["handled"], p.value)
        for data in list(MEMORY.metrics)[-1:] for r in data.resource_metrics for s in r.scope_metrics
        for m in s.metrics if m.name == "brain_otel.errors" for p in m.data.data_points
    ]
    told = [
        (known["exception.message"], known.get("brain_otel.event_id"), hex(each.trace_id) == trace_id)
        for each in logs if "exception.type" in (known := each.attributes)
    ]
    print(json.dumps({"logs": told, "points": points}))

hook = sys.excepthook
def last(*args):
    hook(*args)
    tell()
sys.excepthook = last
raise KeyError("process")
"""

FILE = """
file_format: "1.1"
tracer_provider: {processors: [{memory: {}}, {sentry: {}}]}
logger_provider: {processors: [{memory: {}}]}
meter_provider: {readers: [{periodic: {exporter: {memory: {}}}}]}
distribution: {brain_otel: {sentry: {dsn: "${SENTRY_DSN}"}}}
"""


@pytest.mark.parametrize("with_sentry", [True, False])
def test_threads_and_the_process_may_end_with_an_exception(
    tmp_path: Any, ingest: SentryIngest, with_sentry: bool
) -> None:
    """Each failure is one event, one log record with its id, and counted once; SystemExit is no failure."""
    file = tmp_path / "own.yaml"
    file.write_text(FILE)
    env = {"OTEL_CONFIG_FILE": str(file), **({"SENTRY_DSN": ingest.dsn} if with_sentry else {})}
    done = run_python(CODE, env, pythonpath=[ROOT])
    told = json.loads(done.stdout)
    texts = ["thread", "logged", "own", "thread", "'process'"]
    assert [text for text, _, _ in told["logs"] if text != "logged"] == ["thread", "own", "thread", "'process'"]
    assert [linked for text, _, linked in told["logs"] if text != "logged"] == [True, True, False, False]
    assert sorted(map(tuple, told["points"])) == [
        ("KeyError", False, 1),
        ("LookupError", False, 1),
        ("ValueError", False, 2),
        ("ValueError", True, 1),
    ]
    assert "Traceback" in done.stderr
    if with_sentry:
        found = {each["event_id"]: each["exception"]["values"][-1] for each in ingest.events}
        assert sorted(each["value"] for each in found.values()) == sorted(texts)
        assert all(found[event_id]["value"] == text for text, event_id, _ in told["logs"] if text != "logged")
    else:
        assert ingest.events == []
