"""Measures latency and throughput under uvicorn; server, load and surroundings have processes of their own."""

import json
import subprocess
import sys
from collections.abc import Sequence

from tests.benchmarks.surroundings import Surroundings
from tests.benchmarks.variants import Variant
from tests.support import ROOT
from tests.support.process import Server, free_port


def serve_all(
    variants: Sequence[Variant], around: Surroundings, rate: float, seconds: float
) -> dict[str, dict[str, float]]:
    """Measure one round: p50 and p99 in seconds at ``rate`` requests per second, and the maximum rate."""
    return {variant.name: _serve(variant, around, rate, seconds) for variant in variants}


def _serve(variant: Variant, around: Surroundings, rate: float, seconds: float) -> dict[str, float]:
    port = free_port()
    with around.folder() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.server", variant.name, str(port)]
        env = around.environment(variant.name, folder)
        with Server(command, port, env=env, cwd=ROOT, ready_path="/healthz"):
            load = [sys.executable, "-m", "tests.benchmarks.load", str(port), str(rate), str(seconds)]
            done = subprocess.run(load, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                raise SystemExit(f"{variant.name} under load: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
