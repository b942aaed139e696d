"""A generator of load over raw sockets that are kept alive: ``python -m tests.benchmarks.load PORT RATE SECONDS``.

First at a fixed rate, where a request's time counts from when it was due and not from when a connection was free: a
server that stands still for a moment is charged for everyone who waited. Then as fast as the connections can.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from math import ceil

REQUEST = b"GET /missions/7 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"
CONNECTIONS_AT_RATE, CONNECTIONS_CLOSED = 64, 8
LENGTH = b"content-length: "


class Connection:
    """One connection, on which one request is made at a time."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)

    async def ask(self) -> None:
        """Make a request and take its answer."""
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
        """Let the connection go."""
        self._socket.close()


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    at = head.lower().find(LENGTH) + len(LENGTH)
    return len(body) >= int(head[at:].split(b"\r\n", 1)[0])


async def at_rate(connections: list[Connection], rate: float, seconds: float) -> list[float]:
    """The time of each request from the moment when it was due, sorted."""
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


async def closed(connections: list[Connection], seconds: float) -> float:
    """Requests a second when each connection asks again as soon as it has its answer."""
    begun = time.perf_counter()
    counts = await asyncio.gather(*(_until(begun + seconds, each.ask) for each in connections))
    return sum(counts) / (time.perf_counter() - begun)


async def _until(end: float, ask: Callable[[], Awaitable[None]]) -> int:
    count = 0
    while time.perf_counter() < end:
        await ask()
        count += 1
    return count


def quantile(values: list[float], share: float) -> float:
    """The smallest of the sorted ``values`` that ``share`` of them do not exceed."""
    return values[ceil(share * len(values)) - 1]


async def main(port: int, rate: float, seconds: float) -> dict[str, float]:
    """Warm the server up and measure it."""
    connections = [Connection(port) for _ in range(CONNECTIONS_AT_RATE)]
    await at_rate(connections, rate, max(0.5, seconds / 4))
    taken = await at_rate(connections, rate, seconds)
    per_second = await closed(connections[:CONNECTIONS_CLOSED], seconds)
    return {"p50": quantile(taken, 0.5), "p99": quantile(taken, 0.99), "rps": per_second}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))))
