"""An application that captures errors into a spool, and prints the id of each after it is captured.

Arguments: the number of errors, 0 for no limit, and the seconds between two. JUMPS is the number of days that the
clock is ahead before it jumps.
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
    fast_paths: ${BRAIN_OTEL_FAST_PATHS:-true}
    sentry: {dsn: "${SENTRY_DSN}", profiles_sample_rate: 0}
    delivery: {spool: {directory: "${SPOOL}", max_bytes: "${MAX_BYTES:-67108864}"}, shipper: "${SHIPPER}"}
"""


def start() -> None:
    """Call `setup()` with the variables SENTRY_DSN, SPOOL (empty: no spool) and SHIPPER."""
    if "JUMPS" in os.environ:
        from tests.apps.clock import install

        install(int(os.environ["JUMPS"]))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(CONFIGURATION)
        file.flush()
        brain_otel.setup(config_file=file.name)


def main(count: int, pause: float) -> None:
    """Capture errors until the limit or the end of the process."""
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
