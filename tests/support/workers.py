"""Runs the workers of task queues."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.process import PROGRAMS, Server


class Worker(Server):
    """A worker in a process group of its own; the `with` block starts once its output contains `ready`."""

    def __init__(self, command: Sequence[str], ready: str, **options: Any) -> None:
        super().__init__(command, 0, **options)
        self._ready = ready

    def _answers(self) -> bool:
        return self._ready in self.output


def async_worker(
    command: Sequence[str], ready: str, env: Mapping[str, str], cwd: Path, *, launcher: bool = False
) -> Worker:
    """Return a worker of arq or taskiq."""
    program = [str(PROGRAMS / name) for name in (["opentelemetry-instrument"] if launcher else []) + [command[0]]]
    return Worker([*program, *command[1:]], ready, env=env, pythonpath=[ROOT], cwd=cwd)


def celery_worker(app: str, env: Mapping[str, str], *arguments: str, launcher: bool = False, cwd: Path) -> Worker:
    """Return a worker of Celery that does not look for others, which takes a second."""
    program = [str(PROGRAMS / name) for name in (["opentelemetry-instrument"] if launcher else []) + ["celery"]]
    quick = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")
    command = [*program, "-A", app, "worker", *quick, *arguments]
    return Worker(command, " ready.", env=env, pythonpath=[ROOT], cwd=cwd)
