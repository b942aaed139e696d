"""Runs an application that spools, and a shipper, as real processes, and counts what arrives."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brain_otel.delivery.spool.directory import is_empty
from tests.support import ROOT, forked
from tests.support.ingest import SentryIngest
from tests.support.process import environment
from tests.support.waiting import PATIENCE, until

APP = ROOT / "tests" / "apps" / "spooling.py"


_started: list[subprocess.Popen[bytes]] = []


def end_all() -> None:
    """Kill processes that are still running."""
    while _started:
        process = _started.pop()
        process.kill()
        process.communicate()


class Application:
    """The application as a process, and the ids of the errors that it captures."""

    def __init__(
        self,
        dsn: str,
        spool: Path | str,
        *,
        shipper: str,
        count: int = 0,
        pause: float = 0.002,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        user: int | None = None,
    ) -> None:
        """``before`` is a command that runs this one; an empty ``spool`` means none."""
        variables = {
            "SENTRY_DSN": dsn,
            "SPOOL": str(spool),
            "SHIPPER": shipper,
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        # A process of another user is a new one.
        options: dict[str, Any] = {} if user is None else {"user": user}
        self.process: subprocess.Popen[bytes] = forked.start(
            [*before, sys.executable, str(APP), str(count), str(pause)],
            env=environment(variables, pythonpath=[ROOT]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # else `readline` would take more than one line, which `communicate` does not return
            **options,
        )
        _started.append(self.process)
        self._captured = b""

    def wait_for_first(self) -> None:
        assert self.process.stdout is not None
        self._captured += self.process.stdout.readline()
        assert self._captured, self.process.communicate()[1]

    def kill(self) -> None:
        self.process.kill()

    def captured(self) -> list[str]:
        """Wait for the end; return the ids of the errors for which `capture_exception` has returned."""
        out, self.errors = self.process.communicate(timeout=60)
        _started.remove(self.process)
        return (self._captured + out).decode().splitlines()


@contextmanager
def shipper_of(spool: Path, *, days: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """``brain-otel ship`` as a process; its clock is ``days`` ahead and jumps on signals."""
    code = "from brain_otel.cli import main; main()"
    if days is not None:
        code = f"from tests.apps.clock import install; install({days}); {code}"
    command = [sys.executable, "-c", code, "ship", str(spool)]
    env = environment(pythonpath=[ROOT])
    process = forked.start(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def arrived(ingest: SentryIngest) -> Counter[str]:
    """How many times each error was accepted."""
    with ingest._arrival:
        envelopes = list(ingest.accepted)
    return Counter(item.json["event_id"] for envelope in envelopes for item in envelope.items if item.type == "event")


def wait_until_sent(spool: Path, ingest: SentryIngest, captured: set[str], timeout: float = PATIENCE) -> None:
    until(lambda: captured <= set(arrived(ingest)) and is_empty(spool), timeout, "everything sent")
