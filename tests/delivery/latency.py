"""What a request takes while the ingest, or the disk, fails, against the healthy run: the service must not notice.

`uv run python -m tests.delivery.latency` prints a table. Every case has a service of its own under uvicorn; they are
asked in turns, a slice at a time, so that what else the machine does is spread over all. The rate is fixed (an open
loop), and a request's time counts from when it was due. One in ten captures an error. A percentile is the median of
those of the slices: one in which the machine stood still is not the service's.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.delivery.disks import SizeLimit
from tests.delivery.fast_ingest import HANGING, HEALTHY, RESETTING, FastIngest
from tests.support import ROOT
from tests.support.process import Server, free_port, uvicorn_command

APP = "tests.apps.spooling_service:app"
MOODS = {
    "healthy": HEALTHY,
    "refuses": None,
    "hangs": HANGING,
    "500": 500,
    "429": 429,
    "413": 413,
    "resets": RESETTING,
    "disk full": HEALTHY,
}
DELIVERIES = ("memory", "thread", "process")


@dataclass
class Case:
    """One service, and the times of its requests in seconds."""

    delivery: str
    fault: str
    server: Server
    slices: list[list[float]] = field(default_factory=list)
    wrong: int = 0
    """Answers that were not 200."""

    @property
    def answered(self) -> int:
        """How many requests were."""
        return sum(map(len, self.slices))

    def percentile(self, share: float) -> float:
        """In milliseconds."""
        return 1_000 * statistics.median(sorted(each)[int(share * len(each))] for each in self.slices)


@contextlib.contextmanager
def case(delivery: str, fault: str) -> Iterator[Case]:
    """A service with this delivery under this fault."""
    mood = MOODS[fault]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latency-")))
        ingest = stack.enter_context(FastIngest()) if mood is not None else None
        if ingest is not None and mood is not None:
            ingest.mood = mood
        dsn = ingest.dsn if ingest is not None else f"http://public@127.0.0.1:{free_port()}/42"
        spool = "" if delivery == "memory" else str(folder / "spool")
        port = free_port()
        env = {"SENTRY_DSN": dsn, "SPOOL": spool, "SHIPPER": "thread" if delivery == "memory" else delivery}
        command = [*uvicorn_command(APP, port), "--no-access-log"]
        server = stack.enter_context(Server(command, port, env=env, pythonpath=[ROOT], ready_path="/work/0"))
        if fault == "disk full":
            SizeLimit(folder).fill(server.pid)
        yield Case(delivery, fault, server)
        assert server.returncode is None


async def ask(each: Case, count: int, rate: float, connections: int = 8) -> None:
    """Send ``count`` requests, ``rate`` a second, whatever the answers take."""
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(connections):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", each.server.port))

    async def one(number: int, due: float) -> None:
        reader, writer = await idle.get()
        path = "tell" if number % 10 == 0 else "work"
        writer.write(f"GET /{path}/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        each.slices[-1].append(time.perf_counter() - due)
        each.wrong += not head.startswith(b"HTTP/1.1 200 ")
        idle.put_nowait((reader, writer))

    each.slices.append([])
    begun = time.perf_counter()
    tasks = []
    for number in range(count):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.wait_for(asyncio.gather(*tasks), 60.0)
    while not idle.empty():
        idle.get_nowait()[1].close()


def measure(
    deliveries: tuple[str, ...], faults: tuple[str, ...], *, rounds: int, count: int, rate: float
) -> list[Case]:
    """All cases, asked in turns."""
    with contextlib.ExitStack() as stack:
        cases = [stack.enter_context(case(delivery, fault)) for delivery in deliveries for fault in faults]
        for each in cases:
            asyncio.run(ask(each, count, rate))
            each.slices.clear()  # the first requests of a process are its slowest
        for number in range(rounds):
            for each in cases if number % 2 == 0 else reversed(cases):
                asyncio.run(ask(each, count, rate))
        for each in cases:
            output = each.server.output
            assert "Traceback" not in output, output
            assert "brain_otel failed" not in output, output
    return cases


def table(cases: list[Case]) -> str:
    """The times of each case, and their ratios to the healthy one of the same delivery."""
    healthy = {each.delivery: each for each in cases if each.fault == "healthy"}
    lines = [f"{'delivery':10} {'ingest':10} {'requests':>8} {'p50 ms':>8} {'p99 ms':>8} {'p50 x':>6} {'p99 x':>6}"]
    for each in cases:
        well = healthy[each.delivery]
        p50, p99 = each.percentile(0.5), each.percentile(0.99)
        ratios = f"{p50 / well.percentile(0.5):6.2f} {p99 / well.percentile(0.99):6.2f}"
        lines.append(f"{each.delivery:10} {each.fault:10} {each.answered:8} {p50:8.2f} {p99:8.2f} {ratios}")
    return "\n".join(lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--count", type=int, default=200, help="requests of a slice")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--deliveries", nargs="+", default=DELIVERIES, choices=DELIVERIES)
    arguments = parser.parse_args()
    wrong = 0
    for delivery in arguments.deliveries:
        faults = tuple(each for each in MOODS if delivery != "memory" or each != "disk full")
        cases = measure((delivery,), faults, rounds=arguments.rounds, count=arguments.count, rate=arguments.rate)
        wrong += sum(each.wrong for each in cases)
        print(table(cases), flush=True)
    print(f"answers that were not 200: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
