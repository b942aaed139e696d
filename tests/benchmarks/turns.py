"""CPU a request: every variant lives in a process of its own, and they take turns at a few requests each."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types

from brain_otel.delivery.state import read_state
from tests.benchmarks.surroundings import ROOT, Surroundings, wait_until_sent
from tests.benchmarks.variants import Variant

WARM_UP = 100
TURNS = 10
GREETING = 5
"""Requests at the start of a turn that are not measured: connections that have grown old are made again."""

KINDS = {"request": "/missions/7", "health": "/healthz", "error": "/fails/7"}


@dataclass(kw_only=True)
class Worker:
    """A process that makes requests when it is told to."""

    variant: Variant
    process: "subprocess.Popen[str]"
    folder: Path
    errors: Path
    started: dict[str, float] = field(default_factory=dict)

    def tell(self, order: str) -> dict[str, Any]:
        """Give an order and wait for its end."""
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Wait for an answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            raise SystemExit(f"{self.variant.name} failed:\n{self.errors.read_text()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def shipper_cpu(self) -> float | None:
        """CPU so far of the process that sends for this one, None if there is none."""
        spool = self.folder / "spool"
        shipper = read_state(spool).shipper if spool.exists() else None
        if shipper in (None, self.process.pid):
            return None
        try:
            used = psutil.Process(shipper).cpu_times()
        except psutil.NoSuchProcess:
            return None
        return float(used.user + used.system)

    def idle_shipper_cpu(self) -> float | None:
        """The same, once that process has started and has nothing to do."""
        before, now = -1.0, self.shipper_cpu()
        deadline = time.monotonic() + 5
        while now is not None and now != before and time.monotonic() < deadline:
            time.sleep(0.3)
            before, now = now, self.shipper_cpu()
        return now


@contextmanager
def working(variant: Variant, around: Surroundings, routes: int = 1) -> Iterator[Worker]:
    """Start a worker, for as long as the block lasts."""
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
    """One round: what a request costs each variant; CPU is in seconds, memory and what was sent in bytes."""
    turns = max(1, min(TURNS, count // 50))
    with ExitStack() as stack:
        workers = [stack.enter_context(working(each, around, routes)) for each in variants]
        rounds = [_Round(worker, around, path) for worker in workers]
        for number in range(turns):
            shift = number % len(rounds)
            order = rounds[shift:] + rounds[:shift]
            for each in order if number % 2 else reversed(order):
                each.turn(count // turns)
        return {each.worker.variant.name: each.end() for each in rounds}


class _Round:
    """What one worker has used in a round."""

    def __init__(self, worker: Worker, around: Surroundings, path: str) -> None:
        self.worker, self._around, self._path = worker, around, path
        worker.tell(f"run {path} {WARM_UP}")
        self._process = worker.tell("settle")["process"]
        self._shipper = worker.idle_shipper_cpu()
        self._received = around.received(worker.variant.name)["bytes"]
        self._turns: list[float] = []
        self._all = 0

    def turn(self, count: int) -> None:
        self.worker.tell(f"run {self._path} {GREETING}")
        self._turns.append(self.worker.tell(f"run {self._path} {count}")["loop"] / count)
        self._all += count + GREETING

    def end(self) -> dict[str, Any]:
        name = self.worker.variant.name
        flushed = self.worker.tell("flush")
        wait_until_sent(self.worker.folder, by_us=name.endswith("external"))
        shipper = self.worker.shipper_cpu()
        received = self._received_in_the_end()
        return {
            "loop": median(self._turns),
            "loop_mean": mean(self._turns),
            "loop_least": min(self._turns),
            "process": (flushed["process"] - self._process) / self._all,
            "beside": (shipper - self._shipper) / self._all if shipper and self._shipper is not None else 0.0,
            "memory": flushed["memory"],
            "sent": (received["bytes"] - self._received) / self._all,
            "spans": received["spans"],
            **self.worker.started,
        }

    def _received_in_the_end(self) -> dict[str, Any]:
        """What has arrived once nothing more does."""
        before: dict[str, Any] = {}
        while (now := self._around.received(self.worker.variant.name)) != before:
            before = now
            time.sleep(0.1)
        return now


def start_all(variants: Sequence[Variant], around: Surroundings) -> dict[str, dict[str, Any]]:
    """One round of starts, one after the other."""
    found: dict[str, dict[str, Any]] = {}
    for variant in variants:
        with working(variant, around) as worker:
            found[variant.name] = dict(worker.started)
    return found
