"""One of several workers that share a spool: captures errors and makes transactions as fast as it can.

Arguments: the duration in seconds, and the file for the ids of the errors, which the worker writes at its end.
"""

import os
import sys
import time
from pathlib import Path

import brain_otel
from tests.apps import spooling

UNTIL_FLUSH = 100
"""Number of transactions after which the worker flushes: the queue before the spool holds 1,000."""


def main(seconds: float, told: Path) -> None:
    """Capture errors and make transactions."""
    spooling.start()
    ids: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with brain_otel.start_transaction(name=f"{os.getpid()}-{len(ids)}", op="task"):
            try:
                raise ValueError(f"{os.getpid()}-{len(ids)}")
            except ValueError as error:
                ids.append(str(brain_otel.capture_exception(error)))
        if len(ids) % UNTIL_FLUSH == 0:
            brain_otel.flush(10.0)
    brain_otel.flush(10.0)
    part = told.with_suffix(".part")
    part.write_text("\n".join([str(os.getpid()), *ids]))
    part.rename(told)


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
