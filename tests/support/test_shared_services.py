"""Tests of the servers that the workers of a parallel run share."""

import socket
import time
from pathlib import Path

from tests.support import ROOT
from tests.support.process import run_python
from tests.support.tiers import thorough

CONFTEST = "from tests.conftest import pytest_report_to_serializable, valkey"

TEST = """
from pathlib import Path

def test_it(valkey, worker_id):
    print("a lone surrogate: \\udc80")
    Path(__file__).with_suffix(".port").write_text(f"{worker_id} {valkey.port}")
"""


@thorough
def test_the_workers_of_a_run_share_one_server_that_ends_with_the_run(tmp_path: Path) -> None:
    """A lone surrogate in what a test prints does not end its worker."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("test_one", "test_two"):
        (tmp_path / f"{name}.py").write_text(TEST)
    arguments = ["-n", "2", "--dist", "loadfile", "-p", "no:randomly", "-p", "no:cacheprovider", str(tmp_path)]
    code = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = run_python(code, pythonpath=[ROOT], arguments=arguments, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stdout
    workers, ports = zip(*(path.read_text().split() for path in tmp_path.glob("*.port")), strict=True)
    assert set(workers) == {"gw0", "gw1"}
    (port,) = set(ports)
    assert stops_listening(int(port), seconds=10)


def stops_listening(port: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False
