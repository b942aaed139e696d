"""An application that spools: captures errors until it is killed, and says the id of each once it is captured.

Arguments: how many errors, 0 for ever; seconds between two. With JUMPS its clock is so many days ahead, and jumps.
"""

import os
import sys
import tempfile
import time

import brain_otel

CONFIGURATION = """
file_format: "1.1"
resource: {attributes: [{name: service.name, value: shop}]}
tracer_provider:
  sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: 1.0}}}}
  processors: [{sentry: {}}]
propagator: {composite: [{tracecontext: }, {baggage: }, {sentry: }]}
distribution:
  brain_otel:
    sentry: {dsn: "${SENTRY_DSN}", profiles_sample_rate: 0}
    delivery: {spool: {directory: "${SPOOL}", max_bytes: "${MAX_BYTES:-67108864}"}, shipper: "${SHIPPER}"}
"""


def start() -> None:
    """Set up as the variables say: SENTRY_DSN, SPOOL (empty: none) and SHIPPER."""
    if "JUMPS" in os.environ:
        from tests.apps.clock import install

        install(int(os.environ["JUMPS"]))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(CONFIGURATION)
        file.flush()
        brain_otel.setup(config_file=file.name)


def main(count: int, pause: float) -> None:
    """Capture errors."""
    start()
    number = 0
    while number < count or not count:
        with brain_otel.start_transaction(name=f"work {number}", op="task"):
            captured = brain_otel.capture_exception(ValueError(f"{os.getpid()}-{number}"))
        os.write(1, f"{captured}\n".encode())
        number += 1
        time.sleep(pause)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
