"""Measures CPU per request: each variant has a process of its own, and they take turns of a few requests."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from tests.benchmarks.surroundings import Surroundings, wait_until_sent
from tests.benchmarks.variants import Variant
from tests.support import ROOT

WARM_UP = 100
TURNS = 10
GREETING = 5
"""Number of unmeasured requests at the start of a turn, which reopen old connections."""

PAUSE = 0.05
"""Seconds after a turn in which its threads send, so that they do not disturb the next turn."""

IDLE_SECONDS = 2.0

KINDS = {"request": "/missions/7", "health": "/healthz", "error": "/fails/7"}


@dataclass(kw_only=True)
class Worker:
    """A process that makes requests on command."""

    variant: Variant
    process: "subprocess.Popen[str]"
    folder: Path
    errors: Path
    started: dict[str, float] = field(default_factory=dict)

    def tell(self, order: str) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Read an answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            raise SystemExit(f"{self.variant.name} failed:\n{self.errors.read_text()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def beside_cpu(self) -> float | None:
        """Return the CPU of the process that sends for this worker; None without one."""
        sender = self._sender()
        if sender is None:
            return None
        try:
            return time.clock_gettime(
                ~sender << 3 | 2
            )  # the result of clock_getcpuclockid(3); psutil has a resolution of 10 ms
        except OSError:
            return None

    def _sender(self) -> int | None:
        """Return the id of the process that has inherited the worker's environment and goes on."""
        mark = f"FOLDER={self.folder}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            if int(process.name) != self.process.pid:
                with suppress(OSError):
                    if mark in (process / "environ").read_bytes().split(b"\0"):
                        return int(process.name)
        return None

    def idle_beside(self) -> float:
        """Return the share of a core that the sending process uses while it is idle."""
        before = self.beside_cpu()
        time.sleep(IDLE_SECONDS if before is not None else 0)
        after = self.beside_cpu()
        return (after - before) / IDLE_SECONDS if before is not None and after is not None else 0.0


@contextmanager
def working(variant: Variant, around: Surroundings, routes: int = 1) -> Iterator[Worker]:
    """Run a worker until the block ends."""
    with around.folder() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.worker", variant.name, str(routes)]
        errors = folder / "errors"
        with (
            errors.open("w") as stderr,
            subprocess.Popen(
                command,
                env=around.environment(variant.name, folder),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            ) as process,
        ):
            worker = Worker(variant=variant, process=process, folder=folder, errors=errors)
            try:
                worker.started = worker.hear()
                yield worker
            finally:
                process.kill()


def take_turns(
    variants: Sequence[Variant], around: Surroundings, path: str, count: int, *, routes: int = 1
) -> dict[str, dict[str, Any]]:
    """Measure one round: the cost of a request in each variant. CPU is in seconds, memory and traffic in bytes."""
    turns = max(1, min(TURNS, count // 50))
    with ExitStack() as stack:
        workers = [stack.enter_context(working(each, around, routes)) for each in variants]
        rounds = [_Round(worker, around, path) for worker in workers]
        for number in range(turns):
            for each in random.Random(number).sample(rounds, len(rounds)):
                each.turn(count // turns)
                time.sleep(PAUSE)
        return {each.worker.variant.name: each.end() for each in rounds}


class _Round:
    """The resources that one worker uses in a round."""

    def __init__(self, worker: Worker, around: Surroundings, path: str) -> None:
        self.worker, self._around, self._path = worker, around, path
        worker.tell("lifespan")
        worker.tell(f"run {path} {WARM_UP}")
        self._process = worker.tell("settle")["process"]
        time.sleep(IDLE_SECONDS if worker.beside_cpu() is not None else 0)  # the sending process is still starting
        self._began, self._sender = time.monotonic(), worker.beside_cpu()
        self._received = around.received(worker.variant.name)["bytes"]
        self._turns: list[float] = []
        self._loop = 0.0
        self._all = 0

    def turn(self, count: int) -> None:
        greeting = self.worker.tell(f"run {self._path} {GREETING}")["loop"]
        measured = self.worker.tell(f"run {self._path} {count}")["loop"]
        self._turns.append(measured / count)
        self._loop += greeting + measured
        self._all += count + GREETING

    def end(self) -> dict[str, Any]:
        name = self.worker.variant.name
        flushed = self.worker.tell("flush")
        wait_until_sent(self.worker.folder, by_us=name.endswith("external"))
        beside = self._beside()
        received = self._received_in_the_end()
        elsewhere = (flushed["process"] - self._process - self._loop) / self._all
        return {
            "loop": median(self._turns),
            "loop_mean": mean(self._turns),
            "loop_least": min(self._turns),
            "loop_turns": self._turns,
            "process_turns": [turn + elsewhere for turn in self._turns],
            "process": median(self._turns) + elsewhere,
            "beside": beside / self._all,
            "memory": flushed["memory"],
            "sent": (received["bytes"] - self._received) / self._all,
            "spans": received["spans"],
            **self.worker.started,
        }

    def _beside(self) -> float:
        """Return the CPU that the sending process used for the requests, without its idle CPU in turns of others."""
        now, seconds = self.worker.beside_cpu(), time.monotonic() - self._began
        if now is None or self._sender is None:
            return 0.0
        return max(0.0, now - self._sender - self.worker.idle_beside() * seconds)

    def _received_in_the_end(self) -> dict[str, Any]:
        """Wait until nothing more arrives and return what has arrived."""
        before: dict[str, Any] = {}
        while (now := self._around.received(self.worker.variant.name)) != before:
            before = now
            time.sleep(0.1)
        return now


def start_all(variants: Sequence[Variant], around: Surroundings) -> dict[str, dict[str, Any]]:
    """Measure one round: start each variant, one after the other, and let it answer a request.

    ``ready`` is the time from the begin of the set-up to that answer. The first request imports what set-up and
    application left for it, and the bare application imports some of what a product's set-up has imported already.
    """
    found: dict[str, dict[str, Any]] = {}
    for variant in variants:
        with working(variant, around) as worker:
            later = {**worker.tell("lifespan"), **worker.tell(f"first {KINDS['request']}")}
            ready = {
                f"ready{unit}": worker.started[f"ready{unit}"] + later[f"lifespan{unit}"] + later[f"first{unit}"]
                for unit in ("", "_cpu")
            }
            found[variant.name] = {**worker.started, **ready}
    return found
