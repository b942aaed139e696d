"""Tests of OTLP through the spool."""

from pathlib import Path

from brain_otel.delivery.spool.state import read_state
from tests.support.otlp import OtlpReceiver
from tests.support.process import free_port, run_python
from tests.support.waiting import until

FILE = """
file_format: "1.1"
resource: {{attributes: [{{name: service.name, value: shop}}]}}
tracer_provider:
  processors: [{{otlp: {{endpoint: "http://127.0.0.1:{port}", headers: {{api-key: hunter2}}, compression: {how}}}}}]
logger_provider:
  processors: [{{otlp: {{endpoint: "http://127.0.0.1:{port}", headers: {{api-key: hunter2}}}}}}]
distribution: {{brain_otel: {{delivery: {{spool: {{directory: "{spool}"}}, shipper: {shipper}}}}}}}
"""

CODE = """
import logging, sys, brain_otel
brain_otel.setup(config_file=sys.argv[1])
with brain_otel.start_transaction("work", op="task"):
    logging.getLogger("shop").warning("a line")
    with brain_otel.start_span("db", "x" * 2000):
        pass
print(brain_otel.flush(5.0), brain_otel.shutdown(2.0))
"""


def run(tmp_path: Path, port: int, shipper: str, how: str = "gzip") -> str:
    file = tmp_path / "telemetry.yaml"
    file.write_text(FILE.format(port=port, spool=tmp_path / "spool", shipper=shipper, how=how))
    done = run_python(CODE, arguments=[str(file)])
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stderr
    return done.stdout.strip()


def test_spooled_batches_arrive(tmp_path: Path) -> None:
    """Spans and log records, with their own headers, compressed once."""
    with OtlpReceiver() as receiver:
        assert run(tmp_path, receiver.port, "thread") == "True True"
        receiver.wait_for(lambda it: len(it.spans) == 2 and len(it.log_records) == 1)
        assert {request.headers["api-key"] for request in receiver.accepted} == {"hunter2"}
        encodings = {request.headers.get("content-encoding") for request in receiver.accepted}
        assert "gzip" in encodings
        assert all("OTel" in request.headers["user-agent"] for request in receiver.accepted)


def test_compression_can_be_off(tmp_path: Path) -> None:
    """As it can be without a spool."""
    with OtlpReceiver() as receiver:
        run(tmp_path, receiver.port, "thread", how="none")
        receiver.wait_for(lambda it: len(it.spans) == 2)
        (traces,) = (request for request in receiver.accepted if request.signal == "traces")
        assert "content-encoding" not in traces.headers


def test_spooled_batches_survive_an_outage_of_the_collector(tmp_path: Path) -> None:
    """The first run leaves them on disk, which counts as delivered; the second run sends them."""
    port = free_port()
    assert run(tmp_path, port, "external") == "True True"
    counted = [dict(each.records) for each in read_state(tmp_path / "spool").targets]
    assert sorted(counted, key=str) == [{"otlp_logs": 1}, {"otlp_traces": 1}]
    with OtlpReceiver() as receiver:
        until(lambda: run(tmp_path, receiver.port, "thread"))
        receiver.wait_for(lambda it: len(it.spans) == 2)
        assert read_state(tmp_path / "spool").records == 2  # for the other port's collector, which is still away


def test_without_a_spool_directory_batches_are_sent_at_once(tmp_path: Path) -> None:
    """One line says so, and nothing is lost."""
    (tmp_path / "spool").write_text("")
    with OtlpReceiver() as receiver:
        file = tmp_path / "telemetry.yaml"
        file.write_text(FILE.format(port=receiver.port, spool=tmp_path / "spool" / "x", shipper="thread", how="gzip"))
        done = run_python(CODE, arguments=[str(file)])
        assert done.returncode == 0
        receiver.wait_for(lambda it: len(it.spans) == 2 and len(it.log_records) == 1)
        assert "traces are sent without it" in done.stderr
