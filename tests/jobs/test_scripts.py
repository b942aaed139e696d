"""A script under the launcher is one transaction, where the settings ask for it."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from brain_otel.jobs.scripts import exit_code, name_of
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import PROGRAMS, environment, run_python
from tests.support.relay import assert_accepted
from tests.support.tiers import quick_first

LAUNCHER = PROGRAMS / "opentelemetry-instrument"

WORK = "import brain_otel, sys, os\nwith brain_otel.start_span('work', 'one'): pass\n"

CASES: tuple[tuple[str, int, str, list[str]], ...] = (
    ("", 0, "ok", []),
    ("raise ValueError('no file')", 1, "internal_error", ["ValueError"]),
    ("sys.exit(3)", 3, "internal_error", []),
    ("sys.exit('no file')", 1, "internal_error", []),
    ("sys.exit()", 0, "ok", []),
    ("import threading; t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()", 0, "ok", []),
    ("if os.fork() == 0: sys.exit(0)\nos.wait()", 0, "ok", []),
    ("import asyncio\nasync def main():\n  brain_otel.start_span('more')\nasyncio.run(main())", 0, "ok", []),
)


def variables(ingest: SentryIngest, folder: Path, **more: str) -> dict[str, str]:
    text = (ROOT / "config/production.yaml").read_text()
    (folder / "telemetry.yaml").write_text(text.replace("  brain_otel:\n", "  brain_otel:\n    script: true\n"))
    return {
        "SENTRY_DSN": ingest.dsn,
        "SENTRY_ENVIRONMENT": "production",
        "SENTRY_TRACES_SAMPLE_RATE": "1.0",
        "OTEL_CONFIG_FILE": str(folder / "telemetry.yaml"),
        **more,
    }


@pytest.mark.parametrize(("code", "status", "word", "errors"), quick_first(CASES, 3))
def test_a_script_is_a_transaction(
    ingest: SentryIngest, tmp_path: Path, code: str, status: int, word: str, errors: list[str]
) -> None:
    """Named after its file, with the status that its end says, and its unhandled exception is one event."""
    (tmp_path / "nightly.py").write_text(WORK + code)
    command = [str(PROGRAMS / "python"), "nightly.py", "--verbose"]
    done = run_python(LAUNCHER, variables(ingest, tmp_path), arguments=command, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    (transaction,) = ingest.transactions
    trace = transaction["contexts"]["trace"]
    assert (transaction["transaction"], trace["op"], trace["status"]) == ("nightly.py", "process", word)
    assert trace["data"]["process.exit.code"] == status
    assert [span["description"] for span in transaction["spans"]][:1] == ["one"]
    assert_accepted(transaction)
    assert [event["exception"]["values"][-1]["type"] for event in ingest.events] == errors
    for event in ingest.events:
        assert event["contexts"]["trace"]["trace_id"] == trace["trace_id"]
        assert event["transaction"] == "nightly.py"
    assert "brain_otel failed" not in done.stderr


def test_a_signal_ends_a_script(ingest: SentryIngest, tmp_path: Path) -> None:
    """What it has done until then is sent."""
    (tmp_path / "nightly.py").write_text(WORK + "import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    command = [str(LAUNCHER), str(PROGRAMS / "python"), "-m", "nightly"]
    env = environment(variables(ingest, tmp_path))
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
    (transaction,) = ingest.transactions
    assert (transaction["transaction"], transaction["contexts"]["trace"]["status"]) == ("nightly", "cancelled")


def test_without_the_setting_a_script_is_none(ingest: SentryIngest, tmp_path: Path) -> None:
    """Spans outside of a transaction are transactions of their own."""
    (tmp_path / "nightly.py").write_text(WORK)
    env = variables(ingest, tmp_path, OTEL_CONFIG_FILE="")
    run_python(LAUNCHER, env, arguments=[str(PROGRAMS / "python"), "nightly.py"], cwd=tmp_path)
    assert [each["transaction"] for each in ingest.transactions] == ["one"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["python", "nightly.py"], "nightly.py"),
        (["python", "/srv/jobs/nightly.py", "-m", "x"], "nightly.py"),
        (["python", "-X", "dev", "-Wignore", "-W", "error", "-u", "jobs/nightly.py"], "nightly.py"),
        (["python", "-m", "jobs.nightly", "now"], "jobs.nightly"),
        (["python", "-c", "print('secret')"], "python -c"),
        (["/venv/bin/python", "/venv/bin/celery", "worker"], "celery"),
        (["python", "/"], "/"),
        (["python", "-m"], "-m"),
        (["python"], "python"),
        ([], "python"),
    ],
)
def test_a_script_is_named_by_its_command_line(arguments: list[str], name: str) -> None:
    assert name_of(arguments) == name


@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (3, 3), (True, 1), ("no", 1), (ValueError(), 1)])
def test_an_exit_has_a_code(given: Any, code: int) -> None:
    assert exit_code(given) == code
