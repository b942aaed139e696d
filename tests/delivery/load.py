"""A service under uvicorn at full load: each request's data arrives once or is counted in a line, and memory is flat.

`uv run python -m tests.delivery.load --seconds 60 --workers 1 2 4` prints a paragraph for each delivery and number of
workers, and ends with 1 if one of them is wrong. Eight connections ask as fast as they are answered; one request in
fifty fails.
"""

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # ships no types

from brain_otel.delivery.spool.state import read_state
from tests.delivery.fast_ingest import FastIngest
from tests.delivery.soak import drain
from tests.support import ROOT
from tests.support.process import Server, environment, free_port, uvicorn_command
from tests.support.waiting import until

APP, SLOW_APP = "tests.apps.spooling_service:app", "tests.apps.slow_building_service:app"
DELIVERIES = ("process", "thread", "memory")
CONNECTIONS = 8
SAMPLES = 0.25
"""Seconds between two looks at the memory."""

GROWTH = 6.0
"""MiB by which a process may grow in the second half of a run, for what waits and for the pages of the allocator."""

PATIENCE = 120.0
"""Seconds for what is left in a spool to be sent."""

WARM = 20.0
"""Seconds in which a process may grow: its queues fill, and its caches."""

_COUNTED = re.compile(r"(\d+) (transaction|error)\b(?: \((\w+)\))?")
_LINES = ("dropped for lack of room", "Discarded instead of sent", "exceeds its bounds", "may be lost", "rejected")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was asked and what became of it."""

    delivery: str
    workers: int
    seconds: float
    requests: Counter[int]
    """By status."""
    errors: Counter[str]
    transactions: Counter[str]
    """How often each arrived, by its id."""
    logged: Counter[str]
    """What log lines count as lost, by category."""
    reasons: Counter[str]
    """What log lines count as lost transactions, by the line and the reason."""
    reported: Counter[str]
    """What reports to Sentry count as lost, by category."""
    shown: Counter[str] | None
    """What `brain-otel spool` counts as lost, by category; None without a spool."""
    memory: list[list[float]]
    """MiB of each process over time."""
    output: str

    @property
    def missing(self) -> Counter[str]:
        """Quantities by category."""
        made = Counter(transaction=self.requests.total(), error=self.requests[500])
        return made - Counter(transaction=len(self.transactions), error=len(self.errors))

    @property
    def twice(self) -> int:
        """How many arrived that had arrived before."""
        return (self.errors + self.transactions).total() - len(self.errors) - len(self.transactions)

    @property
    def growth(self) -> float:
        """MiB by which one of the processes has grown from the third quarter to the last."""
        quarters = [(each[len(each) // 2 : len(each) * 3 // 4], each[len(each) * 3 // 4 :]) for each in self.memory]
        return max(statistics.median(last) - statistics.median(third) for third, last in quarters)

    def faults(self) -> list[str]:
        """What is wrong with the run."""
        faults = {
            "answers of another kind": set(self.requests) != {200, 500},
            "an error is missing": self.missing["error"] > 0,
            "log lines count otherwise": self.missing["transaction"] != self.logged["transaction"],
            "reports count otherwise": self.missing["transaction"] != self.reported["transaction"],
            "brain-otel spool counts otherwise": self.shown is not None
            and self.missing["transaction"] != self.shown["transaction"],
            "something arrived twice": self.twice > 0,
            f"a process has grown by {self.growth:.1f} MiB": self.growth > GROWTH and self.seconds >= WARM,
            "a traceback": "Traceback" in self.output.replace("Exception in ASGI application\nTraceback", ""),
        }
        return [fault for fault, is_so in faults.items() if is_so]

    def __str__(self) -> str:
        """As a few lines."""
        memory = "; ".join(
            " ".join(f"{each[len(each) * part // 3 - (part == 3)]:.0f}" for part in range(4)) for each in self.memory
        )
        return (
            f"{self.delivery}, {self.workers} workers, {self.seconds:g} s: {self.requests.total()} requests, "
            f"{self.requests.total() / self.seconds:.0f} a second\n"
            f"  missing: {dict(self.missing) or 0}; in log lines: {dict(self.logged) or 0}; "
            f"reported: {dict(self.reported) or 0}; "
            f"shown: {'no spool' if self.shown is None else dict(self.shown) or 0}; twice: {self.twice}\n"
            f"  lines: {dict(self.reasons)}\n"
            f"  MiB at the start, the thirds and the end: {memory}; grown by {self.growth:.1f} in the second half\n"
            f"  wrong: {', '.join(self.faults()) or 'nothing'}"
        )


def run(delivery: str, workers: int, seconds: float, *, rate: float = inf, app: str = APP) -> Result:
    """Ask for ``seconds``, ``rate`` times a second at most; end the service by SIGTERM, and have its spool sent."""
    with tempfile.TemporaryDirectory(prefix="load-", ignore_cleanup_errors=True) as folder, FastIngest() as ingest:
        spool = Path(folder) / "spool"
        env = {"SENTRY_DSN": ingest.dsn, "SPOOL": "" if delivery == "memory" else str(spool)}
        env |= {"SHIPPER": "thread" if delivery == "memory" else delivery, "MAX_BYTES": str(2**30)}
        port = free_port()
        command = [*uvicorn_command(app, port, workers=workers if workers > 1 else None), "--no-access-log"]
        with Server(command, port, env=env, pythonpath=[ROOT]) as server:
            until(lambda: server.output.count("Application startup complete") == workers)
            processes = _workers(server.pid, workers)
            requests, memory = _asked(port, seconds, rate, processes)
            server.terminate(timeout=60.0)
            output = server.output
        shown: Counter[str] | None = None
        if delivery != "memory":
            drain(spool, time.monotonic() + PATIENCE)
            discarded = [each.discarded for each in read_state(spool).targets]
            shown = Counter()
            for (category, _), quantity in sum(discarded, Counter()).items():
                shown[category] += quantity
        lines = [line for line in output.splitlines() if any(each in line for each in _LINES)]
        logged: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for line in lines:
            for count, category, reason in _COUNTED.findall(line):
                logged[category] += int(count)
                where = next(each for each in _LINES if each in line)
                reasons[f"{where}: {reason or 'at the end'}"] += int(count) * (category == "transaction")
        return Result(
            delivery=delivery,
            workers=workers,
            seconds=seconds,
            requests=requests,
            errors=ingest.errors,
            transactions=ingest.transaction_ids,
            logged=logged,
            reasons=reasons,
            reported=ingest.lost,
            shown=shown,
            memory=memory,
            output=output,
        )


def _workers(pid: int, count: int) -> list[psutil.Process]:
    """The processes that serve: the server's own, or its children without multiprocessing's tracker."""
    server = psutil.Process(pid)
    children = [each for each in server.children() if "spawn_main" in " ".join(each.cmdline())]
    return children if count > 1 else [server]


def _asked(
    port: int, seconds: float, rate: float, processes: list[psutil.Process]
) -> tuple[Counter[int], list[list[float]]]:
    """Ask in a process of its own; returns the answers by status, and the memory of ``processes`` meanwhile."""
    code = f"from tests.delivery.load import ask; ask({port}, {seconds}, float('{rate}'))"
    asking = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(pythonpath=[ROOT]), stdout=subprocess.PIPE, text=True
    )
    memory: list[list[float]] = [[] for _ in processes]
    while asking.poll() is None:
        for process, sizes in zip(processes, memory, strict=True):
            sizes.append(process.memory_info().rss / 2**20)
        time.sleep(SAMPLES)
    statuses = map(str.split, asking.communicate()[0].splitlines())
    return Counter({int(status): int(count) for status, count in statuses}), memory


def ask(port: int, seconds: float, rate: float) -> None:
    """Ask for ``seconds`` over several connections, ``rate`` times a second, and print the number of each status."""
    statuses: Counter[int] = Counter()
    began = time.monotonic()

    async def connection(end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = 0
        while time.monotonic() < end:
            number += 1
            await asyncio.sleep(max(0.0, began + number * CONNECTIONS / rate - time.monotonic()))
            path = "fail" if number % 50 == 0 else "work"
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                writer.write(f"GET /{path}/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                statuses[int(head.split()[1])] += 1
                if b"connection: close" not in head:
                    continue
            reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def connections() -> None:
        end = time.monotonic() + seconds
        await asyncio.gather(*(connection(end) for _ in range(CONNECTIONS)))

    asyncio.run(connections())
    for status, count in statuses.items():
        sys.stdout.write(f"{status} {count}\n")


def main() -> int:
    """Run them one after the other and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rate", type=float, default=inf, help="requests a second, at most")
    parser.add_argument("--deliveries", nargs="+", default=DELIVERIES, choices=DELIVERIES)
    parser.add_argument("--output", action="store_true", help="print the log lines of each server that is wrong")
    arguments = parser.parse_args()
    wrong = 0
    for delivery in arguments.deliveries:
        for workers in arguments.workers:
            result = run(delivery, workers, arguments.seconds, rate=arguments.rate)
            print(result, flush=True)
            wrong += bool(result.faults())
            if result.faults() and arguments.output:
                print("\n".join(line for line in result.output.splitlines() if line[:1].strip()), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
