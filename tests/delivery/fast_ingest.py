"""A Sentry server that does little more than count, so that it never limits a run; it can fail in several ways."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import threading
from collections import Counter
from types import TracebackType
from typing import Self

HEALTHY, HANGING, RESETTING = 200, -1, 0


class FastIngest:
    """Speaks Sentry's protocol on 127.0.0.1 from a thread of its own, for as long as its `with` block lasts.

    `mood` is the status of the answers, `HANGING`, or `RESETTING` in the middle of a request's body.
    """

    def __init__(self, port: int = 0) -> None:
        self.mood: int = HEALTHY
        #: How often each error arrived, by its id, and each transaction, by its name.
        self.errors: Counter[str] = Counter()
        self.transactions: Counter[str] = Counter()
        #: Transactions by their ids.
        self.transaction_ids: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.dsn = f"http://public@127.0.0.1:{self.port}/42"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fast-ingest", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._socket))
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        length = int(headers["content-length"])
        self.requests += 1
        if self.mood == RESETTING:
            await reader.readexactly(length // 2)
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        body = await reader.readexactly(length)
        while self.mood == HANGING:
            await asyncio.sleep(0.05)
        if self.mood == HEALTHY:
            self._keep(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
        more = "Retry-After: 1\r\n" if self.mood == 429 else ""
        writer.write(f"HTTP/1.1 {self.mood} Mood\r\n{more}Content-Length: 2\r\n\r\n{{}}".encode())
        await writer.drain()
        return True

    def _keep(self, envelope: bytes) -> None:
        lines = envelope.split(b"\n")
        kind = json.loads(lines[1])["type"]
        payload = json.loads(lines[2])
        if kind == "event":
            self.errors[payload["event_id"]] += 1
        elif kind == "transaction":
            self.transactions[payload["transaction"]] += 1
            self.transaction_ids[payload["event_id"]] += 1
        elif kind == "client_report":
            for each in payload["discarded_events"]:
                self.lost[each["category"]] += each["quantity"]
