"""Many workers on one spool at full load: everything arrives, nothing twice.

`uv run python -m tests.delivery.soak --seconds 60 --workers 8` prints the counts, and ends with 1 if they differ.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from brain_otel.delivery.spool.directory import is_empty
from tests.delivery.fast_ingest import FastIngest
from tests.support import ROOT
from tests.support.process import environment

WORKER = ROOT / "tests" / "apps" / "spooling_soak.py"
MAX_BYTES = 2**34


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was captured, what arrived how often, and how long it took."""

    workers: int
    seconds: float
    captured: set[str]
    """Ids of errors."""
    made: set[str]
    """Names of transactions."""
    errors: Counter[str]
    transactions: Counter[str]
    lost: Counter[str]
    at_the_end: int
    """Records that had arrived when the workers ended."""
    drained_after: float
    """Seconds after their end."""
    said: str

    def is_right(self) -> bool:
        """Whether everything has arrived, once."""
        return self.errors == Counter(self.captured) and self.transactions == Counter(self.made) and not self.lost

    def __str__(self) -> str:
        """As a few lines."""
        count = len(self.captured) + len(self.made)
        twice = sum((self.errors + self.transactions).values()) - len(self.errors) - len(self.transactions)
        missing = len(self.captured - set(self.errors)) + len(self.made - set(self.transactions))
        return (
            f"{self.workers} workers, {self.seconds:g} s: {len(self.captured)} errors and {len(self.made)} "
            f"transactions captured, {count / self.seconds:.0f} a second\n"
            f"arrived when the workers ended: {self.at_the_end}; the rest {self.drained_after:.1f} s later\n"
            f"missing: {missing}; twice: {twice}; reported as lost: {dict(self.lost) or 0}; "
            f"said: {self.said or 'nothing'}"
        )


def run(seconds: float, workers: int, patience: float) -> Result:
    """Let the workers work, and wait up to ``patience`` seconds until all that they have left is sent."""
    # The shipper's process ends a few seconds after the last user, and may write until then.
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder, FastIngest() as ingest:
        spool = Path(folder) / "spool"
        variables = {"SENTRY_DSN": ingest.dsn, "SPOOL": str(spool), "SHIPPER": "process", "MAX_BYTES": str(MAX_BYTES)}
        files = [Path(folder) / f"{number}.ids" for number in range(workers)]
        processes = [
            subprocess.Popen(
                [sys.executable, str(WORKER), str(seconds), str(file)],
                env=environment(variables, pythonpath=[ROOT]),
                stderr=subprocess.PIPE,
                text=True,
            )
            for file in files
        ]
        said = "".join(process.communicate(timeout=seconds + 120.0)[1] for process in processes)
        ended = time.monotonic()
        at_the_end = ingest.errors.total() + ingest.transactions.total()
        drained_after = drain(spool, ended + patience) - ended
        told = [file.read_text().split("\n") for file in files]
        return Result(
            workers=workers,
            seconds=seconds,
            captured={each for _, *ids in told for each in ids},
            made={f"{pid}-{number}" for pid, *ids in told for number in range(len(ids))},
            errors=ingest.errors,
            transactions=ingest.transactions,
            lost=ingest.lost,
            at_the_end=at_the_end,
            drained_after=drained_after,
            said=said.strip(),
        )


def drain(spool: Path, deadline: float) -> float:
    """Let another shipper go on when the last user's has ended; when nothing was left."""
    command = [sys.executable, "-c", "from brain_otel.cli import main; main()", "ship", str(spool)]
    shipper = subprocess.Popen(
        command, env=environment(pythonpath=[ROOT]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not is_empty(spool) and time.monotonic() < deadline:
            time.sleep(0.05)
        return time.monotonic()
    finally:
        shipper.terminate()
        shipper.wait()


def main() -> int:
    """Run it and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait for what is left at the end")
    arguments = parser.parse_args()
    result = run(arguments.seconds, arguments.workers, arguments.patience)
    print(result)
    return 0 if result.is_right() else 1


if __name__ == "__main__":
    sys.exit(main())
