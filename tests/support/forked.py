"""Starts Python processes: forked from one that has imported the libraries already, or new ones.

A new interpreter takes about a second of CPU to import them, and a run needs some 600.
"""

import atexit
import functools
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.fork_server import LIMIT

PROGRAMS = Path(sys.executable).parent

_READ_AT_START = ("PYTHON", "LC_", "LANG", "LANGUAGE", "TZ", "LD_", "MALLOC_")
"""Variables that an interpreter reads before it runs any code begin so."""

_OPTIONS = {"stdin", "stdout", "stderr", "cwd", "text", "encoding", "bufsize", "process_group", "start_new_session"}
"""The arguments of `Popen` for which a fork does what a new process does."""

_NEEDS_NEW = re.compile(r"sys\.modules|meta_path|get_freeze_count")
"""What code says that looks at modules or changes how they are imported, or counts what an interpreter freezes."""

_LATE = {"brain_otel_destination", "opentelemetry_instrumentor"}
"""The groups of entry points that nobody looks for before `setup()`."""


def start(
    command: Sequence[str], *, env: Mapping[str, str], fresh: bool = False, **options: Any
) -> "subprocess.Popen[Any]":
    """Start a command as `subprocess.Popen` does, with only these variables.

    Forks if the command is Python code, a module, a script or a program of this environment, if nothing that it is
    given can change what the libraries do while they are imported, and if its code does not speak of `sys.modules` or
    the like.
    Say `fresh` in tests of imports, of start-up, of memory and of the interpreter's end.
    """
    arguments = None if fresh or options.keys() - _OPTIONS or sys.platform != "linux" else _arguments(list(command))
    if arguments is not None:
        server = _server(tuple(sorted((name, value) for name, value in env.items() if _is_read_at_start(name))))
        if server is not None and server.can_run(arguments, env, options.get("cwd")):
            return _Forked(command, env=env, server=server, arguments=arguments, **options)
    return subprocess.Popen(command, env=env, **options)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout: float | None = None,
    fresh: bool = False,
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end and return its output as text; kills it after `timeout` seconds."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with start(command, env=env, fresh=fresh, text=True, **options) as process:
        try:
            out, error = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, error)


def _is_read_at_start(name: str) -> bool:
    return name.startswith(_READ_AT_START) and name not in ("PYTHONPATH", "PYTHONWARNINGS")


def _arguments(command: list[str]) -> list[str] | None:
    """Return the arguments of the interpreter that runs this command, or None if it is no such command."""
    if command[0] == sys.executable:
        return command[1:] if len(command) > 1 and _may_be_forked(command[1:]) else None
    program = Path(command[0])
    # The launcher replaces itself by a new interpreter.
    if program.parent == PROGRAMS and program.name != "opentelemetry-instrument" and _runs_here(program):
        return command
    return None


def _may_be_forked(arguments: list[str]) -> bool:
    first = arguments[0]
    if first == "-c":
        return _NEEDS_NEW.search(arguments[1]) is None
    if first == "-m":
        return True
    script = Path(first)
    return not first.startswith("-") and script.is_file() and _NEEDS_NEW.search(script.read_text()) is None


@functools.cache
def _runs_here(program: Path) -> bool:
    """Return whether this is a script for this interpreter."""
    with program.open("rb") as file:
        return file.readline().rstrip() == f"#!{sys.executable}".encode()


class _Server:
    """A process of `tests/support/fork_server.py`."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
                env=env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._close)
        facts = json.loads(self._channel.recv(LIMIT) or "{}")
        if not facts:
            raise RuntimeError(f"the fork server ended with {self._process.wait()}")
        self._variables: set[str] = set(facts["variables"])
        self._packages: set[str] = {*facts["packages"], "sitecustomize", "usercustomize"}

    def _close(self) -> None:
        self._channel.close()
        self._process.wait()

    def can_run(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Any) -> bool:
        """Return whether a new interpreter would import the same libraries, and they would do the same."""
        if any(env.get(name) != self._env.get(name) for name in self._variables):
            return False
        first = str(cwd or Path.cwd()) if arguments[0] in ("-c", "-m") else str(Path(arguments[0]).resolve().parent)
        return not any(self._is_replaced_in(Path(each)) for each in [first, *_pythonpath(env)])

    def _is_replaced_in(self, folder: Path) -> bool:
        """Return whether a module of this folder comes before a library's, or a plugin there belongs to one."""
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return False
        return any(
            (name in self._packages and (end != "" or entry.is_dir()))
            or (end.endswith(("dist-info", "egg-info")) and self._may_be_asked_for(Path(entry)))
            for entry in entries
            for name, _, end in (entry.name.partition("."),)
        )

    def _may_be_asked_for(self, metadata: Path) -> bool:
        """Return whether a library may look for this distribution, or for what it offers, while it is imported."""
        offers = metadata / "entry_points.txt"
        groups = set(re.findall(r"^\[(.+)\]", offers.read_text(), re.MULTILINE)) if offers.exists() else set()
        return metadata.name.partition("-")[0] in self._packages or not groups <= _LATE

    def fork(self, request: Mapping[str, Any], streams: Sequence[int]) -> tuple[int, int]:
        """Return the child's process id, and where its exit status will be."""
        status, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._channel, [json.dumps(request).encode()], [*streams, theirs])
                pid = int.from_bytes(self._channel.recv(4), "little")
            if pid == 0:
                raise RuntimeError("the fork server has ended")
            return pid, status
        finally:
            os.close(theirs)


def _pythonpath(env: Mapping[str, str]) -> list[str]:
    return [each for each in env.get("PYTHONPATH", "").split(os.pathsep) if each]


@functools.cache
def _server(start_variables: tuple[tuple[str, str], ...]) -> _Server | None:
    """Return the server of this process for these variables; None if they change more than the language."""
    if {name for name, _ in start_variables} - {"LANG"}:
        return None
    env = {"HOME": os.environ["HOME"], "PATH": os.environ.get("PATH", os.defpath), "PYTHONWARNINGS": "error"}
    return _Server({**env, **dict(start_variables)})


class _Forked(subprocess.Popen[Any]):
    """A child of the fork server, which waits for it."""

    def __init__(self, *args: Any, server: _Server, arguments: Sequence[str], **options: Any) -> None:
        self._server, self._arguments = server, arguments
        super().__init__(*args, **options)

    def _execute_child(self, *given: Any) -> None:
        """Fork, in place of `Popen`'s way; its arguments are those of CPython's method of this name."""
        cwd, env, ends, session, group = given[5], given[6], given[10:16], given[-2], given[-1]
        request = {
            "arguments": self._arguments,
            "environment": dict(env),
            "folder": str(cwd or Path.cwd()),
            "group": None if group == -1 else group,
            "session": bool(session),
        }
        streams = [own if own != -1 else number for number, own in enumerate((ends[0], ends[3], ends[5]))]
        self.pid, self._status = self._server.fork(request, streams)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return self._ended_within(0)

    def _wait(self, timeout: float | None) -> int:
        if (code := self._ended_within(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended_within(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            status = os.read(self._status, 4)
            os.close(self._status)
            if not status:
                raise RuntimeError("the fork server has ended")
            self.returncode = os.waitstatus_to_exitcode(int.from_bytes(status, "little"))
        return self.returncode
