"""Measures the CPU of a record in the process that ships: ``python -m tests.benchmarks.shipping SPOOL``.

The records are those of real requests, which wait in a spool; the receiver costs nothing.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from brain_otel.delivery.spool.shipper import drain
from tests.benchmarks.surroundings import Surroundings
from tests.benchmarks.turns import KINDS, working
from tests.benchmarks.variants import BY_NAME
from tests.support import ROOT

EXTERNAL = BY_NAME["brain_otel, spool, external"]


def ship_all(around: Surroundings, requests: int) -> dict[str, float]:
    """Write a transaction for each request into a spool and send them; CPU is in seconds a record."""
    with working(EXTERNAL, around) as worker:
        worker.tell(f"run {KINDS['request']} {requests}")
        worker.tell("flush")
        command = [sys.executable, "-m", "tests.benchmarks.shipping", str(worker.folder / "spool")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"shipping: {done.stderr}")
    return {"cpu": json.loads(done.stdout) / requests}


def main(spool: Path) -> float:
    """Send what is in the spool; return the CPU of this process for it."""
    before = time.process_time()
    if left := drain(spool, 60):
        raise SystemExit(f"records are left: {left}")
    return time.process_time() - before


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
