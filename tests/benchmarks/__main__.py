"""The benchmark's command."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.variants import VARIANTS, Variant
from tests.support.process import free_port
from tests.support.services import start_valkey

ROOT = Path(__file__).parents[2]


@contextmanager
def surroundings() -> Iterator[dict[str, str]]:
    """Run what the service talks to; the variables that name it."""
    port = free_port()
    with start_valkey() as valkey, tempfile.TemporaryDirectory() as folder:
        sink = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.sink", str(port)], cwd=ROOT)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url)
            yield {
                **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
                "PYTHONPATH": str(ROOT),
                "VALKEY_PORT": str(valkey.port),
                "SINK_URL": url,
                "SENTRY_DSN": f"http://key@127.0.0.1:{port}/1",
                "FOLDER": folder,
            }
        finally:
            sink.terminate()
            sink.wait()


def _wait_for(url: str) -> None:
    for _ in range(100):
        try:
            bytes_received(url)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the sink does not answer")


def bytes_received(url: str) -> int:
    """Bytes of bodies that the sink has taken so far."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + "/received", timeout=5) as response:
        return int(response.read())


def measured(variant: Variant, env: dict[str, str], kind: str, count: int, routes: int = 1) -> dict[str, Any]:
    """One run of ``variant`` in a process of its own."""
    before = bytes_received(env["SINK_URL"])
    command = [sys.executable, "-m", "tests.benchmarks.worker", variant.name, kind, str(count), str(routes)]
    done = subprocess.run(
        command, env=env, cwd=env["FOLDER"], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise SystemExit(f"{variant.name} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "sent": (bytes_received(env["SINK_URL"]) - before) / count}


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The median of each figure."""
    return {key: median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each variant, one beside the other")
    parser.add_argument("--requests", type=int, default=500, help="requests a run")
    parser.add_argument("--kind", default="request", choices=["request", "health", "error"])
    parser.add_argument("--only", action="append", help="a variant's name; bare and floor are always measured")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    chosen = [each for each in VARIANTS if not options.only or each.name in ("bare", "floor", *options.only)]
    missing = [each.name for each in chosen if not each.is_installed()]
    chosen = [each for each in chosen if each.is_installed()]
    console = Console()
    if missing:
        console.print(f"Not installed, and so not measured (uv run --group peers ...): {', '.join(missing)}")
    runs: dict[str, list[dict[str, Any]]] = {each.name: [] for each in chosen}
    with surroundings() as env:
        for _ in range(options.rounds):
            for variant in chosen:
                runs[variant.name].append(measured(variant, env, options.kind, options.requests))
    figures = {name: medians(found) for name, found in runs.items()}
    console.print(_table(figures, options.kind))
    if options.json:
        options.json.write_text(json.dumps({"kind": options.kind, "medians": figures, "runs": runs}, indent=1))


def _table(figures: dict[str, dict[str, float]], kind: str) -> Table:
    table = Table(title=f"Added to the bare application, a {kind}")
    for column in ("variant", "loop us", "x floor", "process us", "x floor", "start ms", "MiB", "bytes sent"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    bare = figures["bare"]
    floor = {key: figures["floor"][key] - bare[key] for key in bare}
    for name, found in figures.items():
        added = {key: found[key] - bare[key] for key in bare}
        table.add_row(
            name,
            f"{added['loop'] * 1e6:.0f}",
            f"{added['loop'] / floor['loop']:.2f}",
            f"{added['process'] * 1e6:.0f}",
            f"{added['process'] / floor['process']:.2f}",
            f"{added['start'] * 1e3:.0f}",
            f"{added['memory'] / 2**20:.0f}",
            f"{found['sent']:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
