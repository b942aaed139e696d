"""A sink and a load generator in C, where the machine has them: nginx and wrk.

In Python both take as much CPU as the service, and on two cores the service waits for them.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import ceil
from pathlib import Path

from tests.benchmarks.surroundings import Surroundings
from tests.support import ROOT
from tests.support.process import free_port

PROGRAMS = ("nginx", "wrk")
"""Debian has them in the packages nginx-light and wrk."""

MISSING = tuple(name for name in PROGRAMS if shutil.which(name) is None)

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_max_body_size 0; client_body_buffer_size 1m; client_body_temp_path {folder}/bodies;
  server {{ {ports} default_type application/json; location / {{ return 200 "{{}}"; }} }}
}}
"""

REPORT = """
done = function(summary, latency, _)
  local errors, bad = summary.errors, 0
  for _, count in pairs(errors) do bad = bad + count end
  local shares = {p50 = 50, p90 = 90, p99 = 99, p999 = 99.9}
  for name, share in pairs(shares) do
    io.write(string.format('"%s": %.6f, ', name, latency:percentile(share) / 1e6))
  end
  io.write(string.format('"longest": %.6f, "rps": %.3f, "errors": %d\\n',
    latency.max / 1e6, summary.requests / summary.duration * 1e6, bad))
end
"""
"""wrk prints this as its last line; its times are microseconds."""


@contextmanager
def free_sink(around: Surroundings) -> Iterator[Surroundings]:
    """Run nginx as upstream service and sink, with a port for each of those in ``around``."""
    if "nginx" in MISSING:
        yield around
        return
    ports = {name: free_port() for name in around.ports}
    listen = " ".join(f"listen 127.0.0.1:{port};" for port in ports.values())
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        file = Path(folder) / "nginx.conf"
        file.write_text(NGINX.format(folder=folder, ports=listen))
        nginx = subprocess.Popen(["nginx", "-c", str(file), "-p", folder], stderr=subprocess.PIPE, text=True)
        try:
            _wait_for(nginx, max(ports.values()))
            yield replace(around, ports=ports)
        finally:
            nginx.terminate()
            nginx.communicate()


def _wait_for(nginx: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + 10
    while nginx.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    nginx.terminate()
    raise SystemExit(f"nginx does not start: {nginx.communicate()[1]}")


def closed_loop(port: int, connections: int, seconds: float) -> dict[str, float]:
    """Return times in seconds and ``rps``; each connection sends a request as soon as it has the last answer."""
    if "wrk" in MISSING:
        return generate(port, "closed", connections, seconds)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(REPORT)
        script.flush()
        headers = [
            each for name in ("Host: shop.test", "User-Agent: benchmark", "Accept: */*") for each in ("-H", name)
        ]
        options = ["-t", "1", "-c", str(connections), "-d", f"{ceil(seconds)}s", "-s", script.name, *headers]
        command = ["wrk", *options, f"http://127.0.0.1:{port}/missions/7"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"wrk: {done.stderr or done.stdout}")
    found: dict[str, float] = json.loads("{" + done.stdout.splitlines()[-1] + "}")
    if found.pop("errors"):
        raise SystemExit(f"wrk: {done.stdout}")
    return found


def generate(port: int, loop: str, amount: float, seconds: float) -> dict[str, float]:
    """Run :mod:`.load`, an open or a closed loop, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.load", str(port), loop, str(amount), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"under load: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
