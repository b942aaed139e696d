"""Starts the process that sends for this one, and looks at it."""

from __future__ import annotations

import pytest

from brain_otel.delivery import http_process
from brain_otel.delivery.delivery import Delivery
from brain_otel.delivery.http_process import HttpProcess
from brain_otel.delivery.memory_sender import MemorySender
from brain_otel.delivery.target import Target
from tests.support.waiting import until


def started_process(target: Target, *, connections: int) -> HttpProcess:
    """A client whose process runs."""
    client = HttpProcess(target, connections=connections)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_process, "BUSY_RECORDS", 0)
        until(lambda: client._ready(0))
    return client


def start_process(delivery: Delivery) -> int:
    """Start the process of ``delivery``; returns its id."""
    sender = sender_of(delivery)
    sender.created_loop()
    client = sender._process
    assert client is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_process, "BUSY_RECORDS", 0)
        until(lambda: client._ready(0))
    return pid_of(delivery)


def sender_of(delivery: Delivery) -> MemorySender:
    """What sends the records of ``delivery`` in memory."""
    return delivery._created_memory()[1]


def pid_of(delivery: Delivery) -> int:
    """The id of the process, or 0."""
    client = sender_of(delivery)._process
    return client._process.pid if client is not None and client._process is not None else 0
