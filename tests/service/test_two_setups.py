"""An application that instruments libraries itself, beside brain_otel: one span a call and one warning."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from brain_otel.testing import captured_telemetry
from tests.support import ROOT
from tests.support.hidden import hidden
from tests.support.process import run_python
from tests.support.services import Valkey
from tests.support.tiers import quick_one_of_each

KINDS = {
    "sqlalchemy": ("later engine", "global", "engine", "engines", "comments", "failing"),
    "httpx": ("client", "global", "async client", "transport"),
    "redis": ("client", "global", "async client", "pipeline"),
    "fastapi": ("app", "global", "later global", "mounted", "later mounted"),
}
NAMES = {"sqlalchemy": "SELECT", "httpx": "GET", "redis": "GET", "fastapi": "GET /x"}
CASES = [
    (library, kind, order)
    for library, kinds in KINDS.items()
    for kind in kinds
    for order in ("after", "used", "before")
]

APP = "tests.apps.two_setups"

CONTRIBS_OWN = "Attempting to instrument"
"""Contrib says itself that something is instrumented already."""


def name_of(library: str, kind: str) -> str:
    if kind == "pipeline":
        return "GET GET"
    return "GET /sub/y" if "mounted" in kind else NAMES[library]


def in_process(case: tuple[str, str, str], valkey: Valkey, **env: str) -> dict[str, Any]:
    script = f"import runpy, sys\nsys.argv[1:] = {case!r}\nrunpy.run_module({APP!r}, run_name='__main__')"
    done = run_python(script, pythonpath=[ROOT], env={"VALKEY_URL": valkey.url, **env})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("library", "kind", "order"), quick_one_of_each(lambda each: each[0], CASES))
def test_two_set_ups_make_one_span(valkey: Valkey, library: str, kind: str, order: str) -> None:
    """Each `uninstrument()` removes its own and raises nothing, and the lines about it are one for each library."""
    one = [name_of(library, kind)]
    found = in_process((library, kind, order), valkey)
    assert found["both"] == [one, one]
    assert found["again"] == one or _contrib_forgets(library, kind)
    kept = not (order == "before" and library in ("httpx", "redis") and kind in ("global", "client"))
    assert found["ours"] == (one if kept else [])
    ours = [each for each in found["lines"] if "is instrumented already; remove" in each]
    assert len(ours) <= 1
    assert len(ours) == 1 or any(CONTRIBS_OWN in each for each in found["lines"]) or order == "before"
    assert [each for each in found["lines"] if each not in ours and CONTRIBS_OWN not in each] == []


def _contrib_forgets(library: str, kind: str) -> bool:
    """Whether contrib takes the client for instrumented still, after its own `uninstrument_client()`."""
    return library == "redis" and kind in ("client", "pipeline")


@pytest.mark.thorough
@pytest.mark.parametrize("case", [(library, kinds[0], "after") for library, kinds in KINDS.items()], ids="-".join)
def test_two_set_ups_make_one_span_without_fast_paths(valkey: Valkey, case: tuple[str, str, str]) -> None:
    """Contrib's own code makes it."""
    one = [name_of(*case[:2])]
    assert in_process(case, valkey, BRAIN_OTEL_FAST_PATHS="false")["both"] == [one, one]


JOB = """
import json, logging, os
import sentry_sdk
import brain_otel
from brain_otel.testing import captured_telemetry
init = [os.environ["INIT"] == when for when in ("before", "after")]
logging.basicConfig(format="%(message)s")
if init[0]:
    sentry_sdk.init("http://public@127.0.0.1:9/7", traces_sample_rate=1.0)
with captured_telemetry() as telemetry:
    if init[1]:
        sentry_sdk.init("http://public@127.0.0.1:9/7", traces_sample_rate=1.0)
    with brain_otel.start_transaction("job"):
        sentry_sdk.capture_message("message")
    (event,) = telemetry.events
    trace_id = event["contexts"]["trace"]["trace_id"]
    print(json.dumps([[each["transaction"], each["contexts"]["trace"]["trace_id"] == trace_id]
                      for each in telemetry.transactions]))
"""
"""Sends a transaction and an error. sentry-sdk's integrations patch libraries for the life of a process."""


@pytest.mark.parametrize("init", ["never", "before", "after"])
def test_a_second_sentry_client_changes_nothing(tmp_path: Path, init: str) -> None:
    """One transaction, linked to its errors, and one line; without a second one there is none."""
    done = run_python(JOB, {"INIT": init}, pythonpath=[hidden(tmp_path)])
    assert json.loads(done.stdout or "null") == [["job", True]], done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == (init != "never")
    for line in lines:
        assert "sentry_sdk.init()" in line
        assert line.endswith("remove it, and give its options in the configuration file")


def test_a_client_on_a_scope_of_its_own_is_the_applications() -> None:
    """Only the global client is ours."""
    with captured_telemetry():
        other = sentry_sdk.Client("http://public@127.0.0.1:9/7", default_integrations=False)
        scope = sentry_sdk.Scope(client=other)
        assert scope.client is other
        replacement = sentry_sdk.Client(default_integrations=False)
        scope.set_client(replacement)
        assert scope.client is replacement
        other.close()
        replacement.close()
