"""The only thread that writes: batches, one transaction each."""

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from brain_otel.viewer.rows import Batch
from brain_otel.viewer.store.inserts import Inserts, add_counts
from brain_otel.viewer.store.retention import SHARE, remove_oldest, used_share
from brain_otel.viewer.store.schema import open_file

logger = logging.getLogger(__name__)

GATHER = 0.01
"""Seconds for which rows are gathered into one transaction."""

MAX_WAITING = 50_000
"""Rows that wait; then senders are told to come back later."""

MAX_ROWS = 20_000
"""Rows of one transaction."""

CHECK_EVERY = 20
"""Transactions between two looks at the file's size."""

Work = Callable[[sqlite3.Connection], None]


class FullError(Exception):
    """Too much waits to be written."""


class Writer:
    """Owns the connection that writes.

    Args:
        path: the file.
        max_bytes: its bound.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._connection = open_file(path, max_bytes)
        self._inserts = Inserts()
        self._queue: queue.SimpleQueue[tuple[Batch | Work, Future[None]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._written = 0
        self._lost = Batch()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="brain_otel.viewer.writer", daemon=True)
        self._thread.start()

    def submit(self, work: Batch | Work) -> Future[None]:
        """Let the thread write ``work``; the future is done when it is in the file.

        Raises:
            FullError: too much waits.
        """
        future: Future[None] = Future()
        size = len(work) if isinstance(work, Batch) else 1
        with self._lock:
            if self._waiting + size > MAX_WAITING and self._waiting:
                if isinstance(work, Batch):
                    self._count_lost(work, "viewer is busy")
                raise FullError("the viewer is busy")
            self._waiting += size
        self._queue.put((work, future))
        return future

    def count_lost(self, category: str, reason: str, count: int = 1) -> None:
        """Count what never became a row; it is written with the next batch."""
        with self._lock:
            self._lost.drop(category, reason, count=count)

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._queue.put(None)
        self._thread.join(10.0)

    def _run(self) -> None:
        is_open = True
        while is_open:
            works, is_open = self._gather()
            self._write(works)
            with self._lock:
                self._waiting -= sum(len(each) if isinstance(each, Batch) else 1 for each, _ in works)
        self._connection.close()

    def _gather(self) -> tuple[list[tuple[Batch | Work, Future[None]]], bool]:
        works: list[tuple[Batch | Work, Future[None]]] = []
        rows = 0
        deadline = None
        while rows < MAX_ROWS:
            try:
                found = self._queue.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if found is None:
                return works, False
            works.append(found)
            rows += len(found[0]) if isinstance(found[0], Batch) else 1
            deadline = deadline or time.monotonic() + GATHER
        return works, True

    def _write(self, works: Sequence[tuple[Batch | Work, Future[None]]]) -> None:
        error = self._try([work for work, _ in works])
        if error is not None:
            self._make_room()
            error = self._try([work for work, _ in works])
        if error is None:
            self._written += 1
            self._is_failing = False
            if self._written % CHECK_EVERY == 0 and used_share(self._connection) > SHARE:
                self._make_room()
        elif len(works) > 1:  # one of them may be the reason
            for each in works:
                self._write([each])
            return
        else:
            self._fail(works, error)
        for _, future in works:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _try(self, works: Sequence[Batch | Work]) -> Exception | None:
        with self._lock:
            lost, self._lost = self._lost, Batch()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for work in works:
                if isinstance(work, Batch):
                    self._inserts.write(self._connection, work, time.time())
                else:
                    work(self._connection)
            add_counts(self._connection, lost, time.time())
            self._connection.execute("COMMIT")
        except Exception as error:  # the thread must live on, whatever a row holds
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            with self._lock:
                self._lost.counts.update(lost.counts)
            return error
        return None

    def _fail(self, works: Sequence[tuple[Batch | Work, Future[None]]], error: Exception) -> None:
        with self._lock:
            for work, _ in works:
                if isinstance(work, Batch):
                    self._count_lost(work, "could not be written")
        if not self._is_failing:
            self._is_failing = True
            logger.error("brain-otel view cannot write its file: %s; what is received is refused and counted", error)

    def _count_lost(self, batch: Batch, reason: str) -> None:
        for key, count in batch.counts.items():
            if key.outcome == "accepted":
                self._lost.drop(key.category, reason, count=count)
            else:
                self._lost.counts[key] += count

    def _make_room(self) -> None:
        """Remove the oldest until the file is below its bound; a disk that is full for others stays so."""
        try:
            for _ in range(10):
                if used_share(self._connection) <= SHARE:
                    return
                remove_oldest(self._connection)
        except sqlite3.Error as error:
            logger.debug("no room could be made: %s", error)


def run_now(writer: Writer, work: Work, timeout: float = 10.0) -> Any:
    """Let the writer do ``work``, and wait for it."""
    return writer.submit(work).result(timeout)
