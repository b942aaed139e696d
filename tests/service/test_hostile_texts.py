"""No text that a caller sends, or the application logs, stops the event loop for long."""

import json

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import run_python


@pytest.mark.thorough
@pytest.mark.parametrize("pii", ["false", "true"])
def test_no_text_stops_the_loop(pii: str) -> None:
    """Compared with a harmless text of the same length in the same run, where the machine is busy."""
    with SentryIngest() as ingest:
        env = {
            "SENTRY_DSN": ingest.dsn,
            "SENTRY_ENVIRONMENT": "production",
            "SENTRY_TRACES_SAMPLE_RATE": "1",
            "SENTRY_SEND_DEFAULT_PII": pii,
        }
        done = run_python(ROOT / "tests" / "apps" / "stalled.py", env, 100, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    slow = {
        (place, part): took
        for place, found in result["found"].items()
        for part, took in found["took"].items()
        if took > found["allowed"]
    }
    assert slow == {}, result
