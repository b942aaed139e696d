"""Tests of the ports that tests take."""

from tests.support import ROOT
from tests.support.ports import BLOCK, free_port
from tests.support.process import run_python


def test_two_processes_share_no_port() -> None:
    """Whether they are workers of one run or of two, which have the same names."""
    mine = {free_port() for _ in range(2 * BLOCK)}
    code = f"from tests.support.ports import free_port; print(*(free_port() for _ in range({2 * BLOCK})))"
    done = run_python(code, pythonpath=[ROOT])
    theirs = {int(port) for port in done.stdout.split()}
    assert len(theirs) > BLOCK / 2, done.stderr
    assert not mine & theirs
