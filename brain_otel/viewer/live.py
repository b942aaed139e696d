"""Tells open pages that the file has changed, whichever process changed it: server-sent events."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from brain_otel.viewer.store.schema import open_reader

EVERY = 0.25
"""Seconds between two looks at the file."""

MAX_PAGES = 50
PING = 60
"""Looks without a change after which a comment is sent, so that a page that is gone is noticed."""


class Live:
    """The stream of changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = 0
        self.is_closing = False

    async def stream(self, _: Request) -> Response:
        """Answer with the stream."""
        if self._open >= MAX_PAGES:
            return PlainTextResponse(f"allowed: {MAX_PAGES} open pages", 503)
        connection = open_reader(self._path)
        seen = _version(connection)  # before the answer: what changes after it is told
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._changes(connection, seen), media_type="text/event-stream", headers=headers)

    async def _changes(self, connection: sqlite3.Connection, seen: int) -> AsyncIterator[str]:
        self._open += 1
        quiet = 0
        try:
            yield "retry: 1000\n\n"
            while not self.is_closing:
                version = _version(connection)
                if version != seen:
                    quiet = 0
                    yield "event: change\ndata: {}\n\n"
                elif (quiet := quiet + 1) % PING == 0:
                    yield ": still here\n\n"
                seen = version
                await asyncio.sleep(EVERY)
        finally:
            self._open -= 1
            connection.close()


def _version(connection: sqlite3.Connection) -> int:
    """A number that differs once another connection has changed the file."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
