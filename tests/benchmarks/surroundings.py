"""The surroundings of a measured service: a cache, a sink with a port for each variant, a folder, variables."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain_otel.delivery.spool.directory import is_empty
from brain_otel.delivery.spool.shipper import drain
from tests.benchmarks.variants import Variant
from tests.support import ROOT
from tests.support.process import free_port
from tests.support.services import start_valkey

SENT_WITHIN = 15.0
UPSTREAM = "upstream"
"""The port that the service calls. Products send to other ports: they do not trace calls to their own endpoint."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The ports of the cache and, for each variant, of the sink."""

    valkey_port: int
    ports: dict[str, int]

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Create a folder for one process; ignore files that a shipper writes during the clean-up."""
        with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as made:
            yield Path(made)

    def environment(self, variant: str, folder: Path) -> dict[str, str]:
        """Return all environment variables of a measured process."""
        port = self.ports[variant]
        return {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": "0",  # removes one difference between processes of the same variant
            "VALKEY_PORT": str(self.valkey_port),
            "UPSTREAM_URL": f"http://127.0.0.1:{self.ports[UPSTREAM]}",
            "SINK_URL": f"http://127.0.0.1:{port}",
            "SENTRY_DSN": f"http://key@127.0.0.1:{port}/1",
            "FOLDER": str(folder),
        }

    def received(self, variant: str) -> dict[str, Any]:
        """Return the number of bytes that a variant has sent, and the kinds of spans in them."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.ports[variant]}/received", timeout=10) as response:
            told: dict[str, Any] = json.load(response)
        return told


@contextmanager
def surroundings(variants: Sequence[Variant]) -> Iterator[Surroundings]:
    """Run the servers that the service uses."""
    names = [UPSTREAM, *(variant.name for variant in variants)]
    ports: set[int] = set()
    while len(ports) < len(names):
        ports.add(free_port())
    with start_valkey() as valkey:
        command = [sys.executable, "-m", "tests.benchmarks.sink", *map(str, ports)]
        sink = subprocess.Popen(command, cwd=ROOT)
        around = Surroundings(valkey_port=valkey.port, ports=dict(zip(names, ports, strict=True)))
        try:
            _wait_for(around)
            yield around
        finally:
            sink.terminate()
            sink.wait()


def _wait_for(around: Surroundings) -> None:
    waiting = list(around.ports)
    deadline = time.monotonic() + 10
    while waiting:
        try:
            around.received(waiting[-1])
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit("the sink does not answer") from None
            time.sleep(0.05)
        else:
            waiting.pop()


def wait_until_sent(folder: Path, *, by_us: bool) -> None:
    """Wait until the shipper has sent the spool; without a shipper, send the spool."""
    spool = folder / "spool"
    if not spool.exists():
        return
    deadline = time.monotonic() + SENT_WITHIN
    while not by_us and not is_empty(spool) and time.monotonic() < deadline:
        time.sleep(0.05)
    if by_us:
        drain(spool, SENT_WITHIN)
