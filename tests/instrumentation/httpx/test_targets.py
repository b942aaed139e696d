"""Tests of the hosts that get trace headers, with real requests of HTTPX."""

import json
from pathlib import Path

import pytest

from tests.support.process import run_python

FILE = """
file_format: "1.1"
tracer_provider: {processors: [memory: ]}
propagator: {composite: [tracecontext: , baggage: ]}
distribution:
  brain_otel:
    fast_paths: %s
    propagation: {targets: [127.0.0.1]}
"""

APPLICATION = """
import asyncio, json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
from opentelemetry import baggage, context

import brain_otel

brain_otel.setup()
seen = []

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers["host"].partition(":")[0]
        seen.append([host, self.headers.get("traceparent", ""), self.headers.get("baggage", "")])
        other = {"/there": "localhost", "/back": "127.0.0.1"}.get(self.path)
        self.send_response(302 if other else 200)
        if other:
            following = "/back" if self.path == "/there" and self.headers.get("x-back") else "/"
            self.send_header("location", f"http://{other}:{port}{following}")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
port = server.server_port
threading.Thread(target=server.serve_forever, daemon=True).start()
own = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "baggage": "own=1"}

def urls():
    yield f"http://127.0.0.1:{port}/", {}
    yield f"http://localhost:{port}/", {}
    yield f"http://localhost:{port}/", own
    yield f"http://127.0.0.1:{port}/there", {}
    yield f"http://127.0.0.1:{port}/there", own
    yield f"http://127.0.0.1:{port}/there", {"x-back": "1"}

context.attach(baggage.set_baggage("tenant", "acme"))
with brain_otel.start_transaction("calls"), httpx.Client(follow_redirects=True, trust_env=False) as client:
    for url, headers in urls():
        client.get(url, headers=headers)
in_sync, seen = seen, []

async def main():
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
        for url, headers in urls():
            await client.get(url, headers=headers)

with brain_otel.start_transaction("calls"):
    asyncio.run(main())
print(json.dumps([in_sync, seen]))
"""

OWN = ["00-" + "a" * 32 + "-" + "b" * 16 + "-01", "own=1"]


@pytest.mark.parametrize("fast_paths", ["true", "false"])
def test_only_targets_get_our_headers(tmp_path: Path, fast_paths: str) -> None:
    """The host of a redirect gets none either. Headers that the application sets stay as they are."""
    config = tmp_path / "targets.yaml"
    config.write_text(FILE % fast_paths)
    done = run_python(APPLICATION, {"OTEL_CONFIG_FILE": str(config)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for seen in json.loads(done.stdout.splitlines()[-1]):
        hosts = [host for host, *_ in seen]
        assert hosts == ["127.0.0.1", "localhost", "localhost", *["127.0.0.1", "localhost"] * 3, "127.0.0.1"]
        for (host, traceparent, baggage), own in zip(seen, [[], [], OWN, [], [], [], OWN, [], [], []], strict=True):
            if host == "localhost":
                assert [traceparent, baggage] == (own or ["", ""])
            else:
                assert traceparent.startswith("00-")
                assert traceparent != OWN[0]
                assert "tenant=acme" in baggage
