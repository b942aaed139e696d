"""Generates load over raw kept-alive sockets.

``python -m tests.benchmarks.load PORT open RATE SECONDS`` has a fixed rate. A request's time starts when the request
is due, not when a connection is free: a server that pauses is charged for every request that waits.
``python -m tests.benchmarks.load PORT closed CONNECTIONS SECONDS`` is as fast as the connections allow.
"""

import asyncio
import gc
import json
import socket
import sys
import time
from math import ceil

REQUEST = b"GET /missions/7 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"
CONNECTIONS_AT_RATE = 64
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
LENGTH = b"content-length: "


class Connection:
    """A connection that makes one request at a time."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    async def ask(self) -> None:
        """Make a request and read its answer."""
        await self._loop.sock_sendall(self._socket, REQUEST)
        answer = b""
        while not _is_whole(answer):
            read = await self._loop.sock_recv(self._socket, 65536)
            if not read:
                raise SystemExit("the server has closed a connection")
            answer += read
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the server has answered {answer[:200]!r}")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    at = head.lower().find(LENGTH) + len(LENGTH)
    return len(body) >= int(head[at:].split(b"\r\n", 1)[0])


async def at_rate(connections: list[Connection], rate: float, seconds: float) -> list[float]:
    """Return the sorted times of all requests, each from the moment it was due."""
    begun = time.perf_counter() + 0.05
    due = iter([begun + number / rate for number in range(int(rate * seconds))])
    taken: list[float] = []

    async def work(connection: Connection) -> None:
        for moment in due:
            await asyncio.sleep(moment - time.perf_counter())
            await connection.ask()
            taken.append(time.perf_counter() - moment)

    await asyncio.gather(*map(work, connections))
    return sorted(taken)


async def closed(connections: list[Connection], seconds: float) -> tuple[list[float], float]:
    """Return the sorted times, and the requests per second; a connection asks again as soon as it has its answer."""
    begun = time.perf_counter()
    taken: list[float] = []

    async def work(connection: Connection) -> None:
        while (now := time.perf_counter()) < begun + seconds:
            await connection.ask()
            taken.append(time.perf_counter() - now)

    await asyncio.gather(*map(work, connections))
    return sorted(taken), len(taken) / (time.perf_counter() - begun)


def quantile(values: list[float], share: float) -> float:
    """Return the smallest of the sorted ``values`` that a ``share`` of them does not exceed."""
    return values[ceil(share * len(values)) - 1]


def _summary(taken: list[float]) -> dict[str, float]:
    return {**{name: quantile(taken, share) for name, share in QUANTILES.items()}, "longest": taken[-1]}


async def main(port: int, loop: str, amount: float, seconds: float) -> dict[str, float]:
    """Measure the server."""
    if loop == "open":
        return _summary(await at_rate([Connection(port) for _ in range(CONNECTIONS_AT_RATE)], amount, seconds))
    taken, per_second = await closed([Connection(port) for _ in range(int(amount))], seconds)
    return {**_summary(taken), "rps": per_second}


if __name__ == "__main__":
    gc.disable()  # a pause here is not the server's
    print(json.dumps(asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))))
