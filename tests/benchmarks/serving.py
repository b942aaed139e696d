"""Measures latency and throughput under uvicorn; server, load and surroundings have processes of their own."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.native import generate
from tests.benchmarks.surroundings import Surroundings
from tests.benchmarks.variants import Variant
from tests.support import ROOT
from tests.support.process import Server, free_port

CONNECTIONS = 8
"""Connections of the closed loop."""


def serve_all(
    variants: Sequence[Variant], around: Surroundings, rate: float, seconds: float
) -> dict[str, dict[str, float]]:
    """Measure one round: p50 and p99 in seconds at ``rate`` requests per second, and the maximum rate."""
    return {variant.name: _serve(variant, around, rate, seconds) for variant in variants}


def _serve(variant: Variant, around: Surroundings, rate: float, seconds: float) -> dict[str, float]:
    with around.folder() as folder, serving(variant, around, folder) as server:
        generate(server.port, "open", rate, max(0.5, seconds / 4))
        at_rate = generate(server.port, "open", rate, seconds)
        return {**at_rate, "rps": generate(server.port, "closed", CONNECTIONS, seconds)["rps"]}


def serving(variant: Variant, around: Surroundings, folder: Path) -> Server:
    """A server with the variant; use it as a context manager."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.server", variant.name, str(port)]
    env = around.environment(variant.name, folder)
    return Server(command, port, env=env, cwd=ROOT, ready_path="/healthz")
