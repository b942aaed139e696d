"""No hostile text, header, answer or spool touches a file outside, takes much memory or stops the event loop."""

import json
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.process import run_python

PROGRAM = ROOT / "tests" / "apps" / "hostile_process.py"
ROWS = {"text": 24, "header": 31, "answer": 34, "spool": 22}
"""The kinds of rows, and how many there are at least."""

MAX_GROWTH = 16.0
"""MiB of resident memory at any moment."""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ROWS)
def test_nothing_hostile_harms_the_process(tmp_path: Path, kind: str) -> None:
    """One service with a spool and a thread that ships: each row of a kind."""
    directory = tmp_path / "spool"
    done = run_python(PROGRAM, {"PYTHONWARNINGS": "ignore"}, 100, pythonpath=[ROOT], arguments=[str(directory), kind])
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert len(rows) >= ROWS[kind]
    assert [name for name, row in rows.items() if row["touched"]] == []
    assert {name: row["grown"] for name, row in rows.items() if row["grown"] > MAX_GROWTH} == {}
    assert {name: row["stops"] for name, row in rows.items() if row["stops"]} == {}
