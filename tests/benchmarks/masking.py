"""Times the masking of a request's span and a statement's span in two checkouts, in turns.

``python -m tests.benchmarks.masking BEFORE AFTER``: directories with a ``.venv`` each. Each measurement has a process
of its own and is the least CPU time of 30; printed are the medians of the rounds, and that of their ratios.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROUNDS = 15
SPANS = ("HTTP", "SQL")
_CODE = """
import gc, time
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind
from brain_otel.privacy import spans

masked = getattr(spans, "MaskedSpan", None) or spans.PrivateSpan  # its name before
ended = []

class Kept(SpanProcessor):
    def on_end(self, span):
        ended.append(span)

provider = TracerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "shop"}))
provider.add_span_processor(Kept())
tracer = provider.get_tracer("shop")
browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
tracer.start_span("GET /orders/{order_id}", kind=SpanKind.SERVER, attributes={
    "http.request.method": "GET", "url.scheme": "http", "url.path": "/orders/7", "http.route": "/orders/{order_id}",
    "server.address": "shop.test", "server.port": 8000, "client.address": "10.0.0.1", "user_agent.original": browser,
    "network.protocol.version": "1.1", "http.response.status_code": 200, "user.id": "u1"}).end()
tracer.start_span("SELECT orders", kind=SpanKind.CLIENT, attributes={
    "db.system.name": "postgresql", "db.namespace": "shop", "db.operation.name": "SELECT",
    "db.query.text": "SELECT orders.id, orders.name FROM orders WHERE orders.id = $1",
    "server.address": "db.test", "server.port": 5432}).end()
for span in ended:
    for _ in range(200):
        masked(span).attributes
    gc.disable()
    least = 1e9
    for _ in range(30):
        started = time.thread_time()
        for _ in range(300):
            masked(span).attributes
        least = min(least, time.thread_time() - started)
    print(least / 300 * 1e6)
"""


def microseconds(checkout: Path) -> list[float]:
    """The least time of each of :data:`SPANS` in this checkout."""
    command = [str(checkout / ".venv" / "bin" / "python"), "-c", _CODE]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def compare(before: Path, after: Path, rounds: int = ROUNDS) -> list[tuple[float, float, float]]:
    """For each of :data:`SPANS` the medians of both checkouts, and that of the ratios."""
    taken: Sequence[tuple[list[float], list[float]]] = [
        (microseconds(before), microseconds(after)) for _ in range(rounds)
    ]
    return [
        (
            median(first[place] for first, _ in taken),
            median(second[place] for _, second in taken),
            median(second[place] / first[place] for first, second in taken),
        )
        for place in range(len(SPANS))
    ]


if __name__ == "__main__":
    for name, (first, second, ratio) in zip(SPANS, compare(Path(sys.argv[1]), Path(sys.argv[2])), strict=True):
        sys.stdout.write(f"{name}: {first:.2f} us before, {second:.2f} us after, ratio {ratio:.2f}\n")
