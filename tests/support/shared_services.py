"""One Valkey and one PostgreSQL for all workers of a parallel run.

The first worker that needs a server starts a keeper process. The keeper runs the server, and stops it when the
controller of the workers ends, however it ends.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]  # ships no types

from tests.support import ROOT
from tests.support.services import Postgres, Valkey, start_postgres, start_valkey

Service = TypeVar("Service", Valkey, Postgres)

STARTERS: dict[str, Callable[[], AbstractContextManager[Valkey | Postgres]]] = {
    "Valkey": start_valkey,
    "Postgres": start_postgres,
}


@contextmanager
def start_once_a_run(service: type[Service], worker: str, base: Path) -> Iterator[Service]:
    """Run the server in this process; in a worker of a parallel run, share one server with the other workers.

    `worker` and `base` are pytest-xdist's `worker_id` and this process's base directory for temporary files.
    """
    if worker == "master":
        with STARTERS[service.__name__]() as running:
            yield service(**asdict(running))
    else:
        yield _find_or_start(service, base.parent)


def _find_or_start(service: type[Service], folder: Path) -> Service:
    name = service.__name__
    address = folder / f"{name}.json"
    with _locked(folder / f"{name}.lock"):
        if not address.exists():
            _start_keeper(name, address, controller=os.getppid())
    return service(**json.loads(address.read_text()))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start_keeper(name: str, address: Path, controller: int) -> None:
    log = address.with_suffix(".log")
    command = [sys.executable, "-m", "tests.support.shared_services", name, str(address), str(controller)]
    with log.open("wb") as output:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} did not start:\n{log.read_text()}")


def main(name: str, address: Path, controller: int) -> int:
    """Leave a keeper behind and return 0 once its server listens."""
    keeper = os.fork()
    if keeper == 0:
        os.setsid()
        _keep(name, address, controller)
        return 0
    while not address.exists():
        ended, status = os.waitpid(keeper, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) or 1
        time.sleep(0.02)
    return 0


def _keep(name: str, address: Path, controller: int) -> None:
    with STARTERS[name]() as running:
        complete = address.with_suffix(".new")
        complete.write_text(json.dumps(asdict(running)))
        complete.rename(address)
        psutil.Process(controller).wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
