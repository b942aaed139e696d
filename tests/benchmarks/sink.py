"""A server that accepts everything: Sentry envelopes, OTLP, an agent's protocols, and the service's HTTP calls.

``python -m tests.benchmarks.sink PORT ...`` listens on one port for each variant. Each port reports what it received.
"""

import asyncio
import contextlib
import json
import sys
import zlib
from collections import Counter, deque

KEPT = 50
"""Number of bodies that each port keeps; each body contains traced requests, or none does."""

SPANS = {"server": b"/missions/{mission_id}", "sql": b"SELECT", "redis": b"SET", "http": b"completions"}
"""Text that a span of each kind contains in every protocol."""


class Port:
    """The requests on one port."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()
        self.bodies: deque[bytes] = deque(maxlen=KEPT)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                path = lines[0].split(" ")[1].partition("?")[0]
                headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:]}
                taken = await _body(reader, headers)
                answer = json.dumps(self.told()).encode() if path == "/received" else b"{}"
                if taken:
                    self.bytes[path] += len(taken)
                    self.bodies.append(taken)
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                    % (len(answer), answer)
                )
                await writer.drain()
        writer.close()

    def told(self) -> dict[str, object]:
        """Return the number of bytes so far, and the kinds of spans in the last bodies."""
        text = b"".join(map(_plain, self.bodies))
        return {"bytes": self.bytes.total(), "spans": [name for name, mark in SPANS.items() if mark in text]}


def _plain(body: bytes) -> bytes:
    with contextlib.suppress(zlib.error):
        return zlib.decompress(body, wbits=47)  # detects gzip or zlib by the header
    return body


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def main(ports: list[int]) -> None:
    """Serve until the process ends."""
    servers = [await asyncio.start_server(Port().serve, "127.0.0.1", port) for port in ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(list(map(int, sys.argv[1:]))))
