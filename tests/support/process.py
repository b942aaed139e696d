"""Runs servers and scripts in processes of their own, with only the environment that the test names."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types

from tests.support import forked
from tests.support.forked import PROGRAMS as PROGRAMS
from tests.support.ports import free_port as free_port
from tests.support.waiting import PATIENCE

SLACK = 8.0
"""Seconds that a busy machine may add to a bound. A server that hangs in a test hangs for longer."""


def environment(extra: Mapping[str, str] | None = None, *, pythonpath: Sequence[Path | str] = ()) -> dict[str, str]:
    """Return PATH, HOME, LANG and the switch of the fast paths, PYTHONPATH as given, and `extra`; nothing else."""
    base = {name: os.environ[name] for name in ("HOME", "LANG", "BRAIN_OTEL_FAST_PATHS") if name in os.environ}
    base["PATH"] = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)])
    if pythonpath:
        base["PYTHONPATH"] = os.pathsep.join(map(str, pythonpath))
    return {**base, **(extra or {})}


def run_python(
    code: str | Path,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
    *,
    pythonpath: Sequence[Path | str] = (),
    arguments: Sequence[str] = (),
    cwd: Path | None = None,
    fresh: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run code (text) or a script (`Path`) with this interpreter. Does not check the return code.

    `fresh` as in `forked.start`.
    """
    script = [str(code)] if isinstance(code, Path) else ["-c", code]
    command = [sys.executable, *script, *arguments]
    return forked.run(command, env=environment(env, pythonpath=pythonpath), timeout=timeout, cwd=cwd, fresh=fresh)


def uvicorn_command(
    app: str, port: int, *, workers: int | None = None, reload: bool = False, launcher: bool = False
) -> list[str]:
    """Return the command line of uvicorn; `launcher` puts `opentelemetry-instrument` in front."""
    command = [*_program("uvicorn", launcher), app, "--host", "127.0.0.1", "--port", str(port)]
    if workers is not None:
        command += ["--workers", str(workers)]
    return [*command, "--reload"] if reload else command


def gunicorn_command(
    app: str, port: int, *, workers: int = 1, preload: bool = False, launcher: bool = False
) -> list[str]:
    """Return the command line of gunicorn with an ASGI worker; `launcher` as in `uvicorn_command`."""
    command = [*_program("gunicorn", launcher), app, "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(workers), "--worker-class", gunicorn_worker_class()]
    # gunicorn 25 and later open one control socket in the home directory for all instances.
    command += ["--no-control-socket"]
    return [*command, "--preload"] if preload else command


def gunicorn_worker_class() -> str:
    """Return the installed ASGI worker: uvicorn's own (deprecated), its successor's, or gunicorn's own."""
    if importlib.util.find_spec("uvicorn.workers"):
        return "uvicorn.workers.UvicornWorker"
    return "uvicorn_worker.UvicornWorker" if importlib.util.find_spec("uvicorn_worker") else "asgi"


def _program(name: str, launcher: bool) -> list[str]:
    names = ["opentelemetry-instrument", name] if launcher else [name]
    return [str(PROGRAMS / program) for program in names]


class Server:
    """A server in a process group of its own, until the `with` block ends.

    The process gets `environment()` and `env`, and no other variable. The block starts once `port` accepts
    connections or, with `ready_path`, once that path answers with any status. At its end, kills the group.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        *,
        env: Mapping[str, str] | None = None,
        pythonpath: Sequence[Path | str] = (),
        cwd: Path | None = None,
        ready_path: str | None = None,
        timeout: float = PATIENCE,
        fresh: bool = False,
    ) -> None:
        """`fresh` as in `forked.start`."""
        self._fresh = fresh
        self.command = list(command)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._env = environment(env, pythonpath=pythonpath)
        self._cwd = cwd
        self._ready_path = ready_path
        self._timeout = timeout

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile("a+b")
        self._process = forked.start(
            self.command,
            env=self._env,
            fresh=self._fresh,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, Exception) and error is not None:
            error.add_note(f"output of {self.command[0]}:\n{self.output}")
        self._kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The return code of the main process (negative: the signal that ended it); None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """Everything that the group has written to stdout and stderr so far."""
        descriptor = self._file.fileno()
        # The file shares its offset with the server; pread does not move it.
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def request(self, method: str, path: str, *, timeout: float = PATIENCE, **options: Any) -> httpx.Response:
        """Make a request over a new connection; `options` are those of `httpx.Client.request`."""
        with httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, verify=False) as client:
            return client.request(method, path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def processes(self) -> list[psutil.Process]:
        """Return the living processes of the group, including the main process."""
        return [process for process in psutil.process_iter() if _is_alive_in(process, self.pid)]

    def terminate(self, timeout: float = 5.0, *, others: float = SLACK) -> float:
        """Send SIGTERM to the main process only, and return the seconds until it exits.

        Fails if the exit takes longer than `timeout` seconds, or if a process of the group outlives the main
        process by more than `others` seconds.
        """
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {timeout:g} s after SIGTERM:\n{self.output}") from None
        seconds = time.monotonic() - started
        if left := self._left_after(others):
            raise AssertionError(f"left behind: {[str(process) for process in left]}\n{self.output}")
        return seconds

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._timeout
        while not self._answers():
            if self.returncode is not None:
                raise AssertionError(f"ended with {self.returncode} before it answered:\n{self.output}")
            if time.monotonic() > deadline:
                raise AssertionError(f"no answer within {self._timeout:g} s:\n{self.output}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            if self._ready_path is not None:
                self.get(self._ready_path, timeout=1.0)
            else:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except (OSError, httpx.TransportError):
            return False
        return True

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._left_after(5.0)
        self._file.close()

    def _left_after(self, seconds: float) -> list[psutil.Process]:
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left


def _is_alive_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, PermissionError, psutil.Error):
        return False
