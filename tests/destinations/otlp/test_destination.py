"""Tests of OTLP over HTTP and gRPC, with a receiver that decodes the requests."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from brain_otel.configuration.error import ConfigurationError
from brain_otel.delivery import DeliveryError, PartialDelivery
from brain_otel.destinations.otlp import destination as otlp
from brain_otel.runtime.limited_log import log_counts
from tests.destinations.service import (
    answers_of_both,
    environment_of,
    in_child,
    make_spans,
    options,
    serve,
    settings,
    traced,
    write_config,
)
from tests.support import ROOT
from tests.support.otlp import OtlpReceiver, refusing, self_signed
from tests.support.otlp_data import spans_of
from tests.support.process import run_python

HTTP, GRPC = "http/protobuf", "grpc"
PROTOCOLS = (HTTP, GRPC)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver(grpc=True) as running:
        yield running


def endpoint_of(receiver: OtlpReceiver, protocol: str) -> str:
    return receiver.endpoint if protocol == HTTP else receiver.grpc_endpoint


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_service_sends_traces_logs_and_metrics(protocol: str, receiver: OtlpReceiver, tmp_path: Path) -> None:
    """Everything arrives once, with the ids in the response, and the exporter's own requests are not traced."""
    given = {
        "endpoint": endpoint_of(receiver, protocol),
        "protocol": protocol,
        "headers": "API-Key=k%201,tenant=acme",
    }
    config = write_config(tmp_path, traces=[{"otlp": given}], logs=[{"otlp": given}], metrics=[{"otlp": given}])
    with serve(config, env={"OTEL_RESOURCE_ATTRIBUTES": "region=eu"}) as server:
        answer = server.get("/items/5?token=secret&page=2").json()
        assert server.get("/boom/6").status_code == 500
        receiver.wait_for(lambda it: len(it.spans) >= 3 and len(it.log_records) >= 2 and len(it.metrics) >= 2)
        server.terminate(timeout=4.0)
    request, statement = receiver.span("GET /items/{item_id}"), receiver.span("SELECT")
    assert (request.trace_id, request.span_id, request.kind) == (answer["trace_id"], answer["span_id"], "server")
    assert (statement.trace_id, statement.parent_span_id, statement.kind) == (
        request.trace_id,
        request.span_id,
        "client",
    )
    assert request.resource["service.name"] == "shop"
    assert request.resource["deployment.environment.name"] == "test"
    assert request.attributes["http.route"] == "/items/{item_id}"
    assert request.attributes["url.query"] == "token=[Filtered]&page=2"
    assert "client.address" not in request.attributes
    (crumb,) = request.events
    assert crumb.name == "brain_otel.breadcrumb"
    assert crumb.attributes["brain_otel.breadcrumb.message"] == "looking"
    assert (crumb.attributes["shelf"], crumb.attributes["password"]) == (7, "[Filtered]")
    failed = receiver.span("GET /boom/{item_id}")
    assert failed.status == "error"
    spans = [span for span in receiver.spans if span.attributes.get("url.path") != "/nothing"]
    assert sorted(span.name for span in spans) == ["GET /boom/{item_id}", "GET /items/{item_id}", "SELECT"]
    (message,) = [record for record in receiver.log_records if record.body == "found"]
    assert (message.trace_id, message.span_id) == (request.trace_id, request.span_id)
    assert (message.severity, message.severity_number) == ("WARN", 13)
    assert message.attributes["brain_otel.event_id"] == answer["event_id"]
    assert (message.attributes["item"], message.attributes["api_key"]) == (5, "[Filtered]")
    (error,) = [each for each in receiver.log_records if each.attributes.get("exception.type") == "RuntimeError"]
    assert error.attributes["exception.message"] == "boom 6"
    assert "Traceback" in error.attributes["exception.stacktrace"]
    assert error.trace_id == failed.trace_id
    assert len(error.attributes["brain_otel.event_id"]) == 32
    durations = [metric for metric in receiver.metrics if metric.name == "http.server.request.duration"]
    assert {metric.unit for metric in durations} == {"s"}
    counts = {point.attributes.get("http.route"): point.count for point in durations[-1].points}
    assert counts["/items/{item_id}"] == 1
    assert {(each.protocol, each.headers["api-key"], each.headers["tenant"]) for each in receiver.requests} == {
        ("http" if protocol == HTTP else "grpc", "k 1", "acme")
    }
    assert receiver.rejected == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("compression", ["gzip", "deflate", "none"])
def test_compression(protocol: str, compression: str, receiver: OtlpReceiver) -> None:
    """Compressed and uncompressed requests arrive alike."""
    endpoint = endpoint_of(receiver, protocol)
    with traced(options("otlp", endpoint=endpoint, protocol=protocol, compression=compression)) as (
        provider,
        (used,),
    ):
        make_spans(provider, 3)
        assert used.flush(5.0)
    assert [span.name for span in receiver.spans] == ["work 0", "work 1", "work 2"]
    if protocol == HTTP:
        sent = receiver.requests[0].headers.get("content-encoding", "none")
        assert sent == compression


@pytest.mark.parametrize(
    "given", ["a=1,b=2", {"A": 1, "b": "2"}, [{"name": "A", "value": "1"}, {"name": "b", "value": 2}]]
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_headers_can_be_text_a_mapping_or_a_list(protocol: str, given: Any, receiver: OtlpReceiver) -> None:
    """Text with pairs, a mapping, and OpenTelemetry's list."""
    endpoint = endpoint_of(receiver, protocol)
    assert otlp.probe(options("otlp", endpoint=endpoint, protocol=protocol, headers=given), settings(), 5.0)
    headers = receiver.requests[0].headers
    assert (headers["a"], headers["b"]) == ("1", "2")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_headers_of_the_file_are_the_only_ones(
    protocol: str, signal: Any, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables have another backend's key, which this address must not get."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=vendor,x-tenant=other")
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS", "x-signal-key=vendor")
    given = {"endpoint": endpoint_of(receiver, protocol), "protocol": protocol}
    assert otlp.probe(options("otlp", signal, **given, headers={"x-tenant": "acme"}), settings(), 5.0)
    (request,) = receiver.requests
    assert request.headers["x-tenant"] == "acme"
    assert not {"api-key", "x-signal-key"} & request.headers.keys()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "given", ["A= k 1 \n", {"a": "k 1\n"}, {"a": "\tk 1\r\n"}, [{"name": "a", "value": "k 1\n"}]]
)
def test_a_headers_value_may_end_in_a_newline(protocol: str, given: Any, receiver: OtlpReceiver) -> None:
    """As a value that was read from a file; the newline is not sent."""
    endpoint = endpoint_of(receiver, protocol)
    assert otlp.probe(options("otlp", endpoint=endpoint, protocol=protocol, headers=given), settings(), 5.0)
    assert receiver.requests[0].headers["a"] == "k 1"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "given",
    [
        {"authorization": "Bearer\nhunter2"},
        [{"name": "authorization", "value": "Bearer\r\nhunter2"}],
        "authorization=Bearer\nhunter2",
        {"x-key\n": "hunter2"},
        {"x key": "hunter2"},
    ],
)
def test_an_invalid_header_is_an_error(protocol: str, given: Any) -> None:
    """At set-up, not with each batch, and the error does not show the value."""
    with pytest.raises(ConfigurationError, match="headers is") as raised:
        otlp.create_destination(options("otlp", protocol=protocol, headers=given), settings())
    assert "hunter2" not in f"{raised.value!s}{raised.value.__cause__!r}"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://collector:4318?api_key=hunter2",
        "http://collector:4318/#part",
        "http://collector .example:4318",
        "http://collector:4318\n",
        " http://collector:4318",
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_endpoint_to_which_no_path_can_be_added_is_an_error(protocol: str, endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint is") as raised:
        otlp.create_destination(options("otlp", protocol=protocol, endpoint=endpoint), settings())
    assert "hunter2" not in str(raised.value)


def test_a_url_may_have_a_query(receiver: OtlpReceiver) -> None:
    """Some backends take their key in it; the description does not show the key."""
    given = options("otlp", url=f"{receiver.endpoint}/ingest?api_key=hunter2&to=/v1/traces")
    assert otlp.probe(given, settings(), 5.0) == "a span delivered"
    assert receiver.requests[0].headers[":path"] == "/ingest?api_key=hunter2&to=/v1/traces"
    assert otlp.describe(given, settings()).endswith("/ingest?api_key=[Filtered]&to=/v1/traces")


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_a_probe_does_not_show_the_key_in_a_url(signal: Any, receiver: OtlpReceiver) -> None:
    """Even if the reason comes from a library that names the address."""
    with refusing() as nobody, OtlpReceiver() as hanging:
        hanging.hanging = True
        for address in (nobody, hanging.endpoint, receiver.endpoint):  # the last knows no such path
            url = f"{address}/ingest?page=1&api_key=hunter2"
            with pytest.raises(DeliveryError) as raised:
                otlp.probe(options("otlp", signal, url=url), settings(), 0.3)
            assert "hunter2" not in str(raised.value)


def test_a_url_is_used_unchanged(receiver: OtlpReceiver) -> None:
    """The path of the signal is added to `endpoint`, but not to `url`."""
    for given in ({"endpoint": f"{receiver.endpoint}/base/"}, {"url": f"{receiver.endpoint}/other/v1/traces"}):
        assert otlp.probe(options("otlp", **given), settings(), 5.0) == "a span delivered"
    assert [each.headers[":path"] for each in receiver.requests] == ["/base/v1/traces", "/other/v1/traces"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_configured_certificate_is_trusted(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a variable names another bundle. Without the certificate, the server is not trusted."""
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(certificate.with_name("other.pem")))
    (tmp_path / "another").mkdir()
    self_signed(tmp_path / "another")[0].rename(tmp_path / "other.pem")
    with OtlpReceiver(grpc=True, tls=(certificate, key)) as receiver:
        given = {"endpoint": endpoint_of(receiver, protocol), "protocol": protocol}
        assert otlp.probe(options("otlp", **given, certificate=str(certificate)), settings(), 5.0)
        # gRPC's exporter tells no more of it.
        expected = "certificate verify failed" if protocol == HTTP else "UNAVAILABLE"
        with pytest.raises(DeliveryError, match=expected):
            otlp.probe(options("otlp", **given), settings(), 1.0)
        assert len(receiver.spans) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["certificate", "client_key", "client_certificate"])
def test_an_unreadable_certificate_is_an_error(protocol: str, name: str, tmp_path: Path) -> None:
    """At set-up, not with each batch."""
    given = options("otlp", protocol=protocol, **{name: str(tmp_path / "none.pem")})
    with pytest.raises(ConfigurationError, match=rf"{name} is .*No such file"):
        otlp.create_destination(given, settings())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_batch_is_retried_after_a_503(protocol: str, receiver: OtlpReceiver) -> None:
    """Nothing is lost."""
    answers = iter([503, 200])
    receiver.respond = lambda: (next(answers), {"Retry-After": "0"})
    with traced(options("otlp", endpoint=endpoint_of(receiver, protocol), protocol=protocol)) as (provider, (used,)):
        make_spans(provider, 2)
        assert used.flush(8.0)
    assert [each.status for each in receiver.requests] == [503, 200]
    assert [span.name for span in receiver.spans] == ["work 0", "work 1"]


def test_batches_and_the_queue_are_bounded(receiver: OtlpReceiver) -> None:
    """While nobody answers, the oldest spans beyond the queue are dropped, and no batch exceeds its limit."""
    receiver.hanging = True
    given = options("otlp", endpoint=receiver.endpoint, max_queue_size=100, max_export_batch_size=10)
    with traced(given) as (provider, (used,)):
        make_spans(provider, 10)
        receiver.wait_for(lambda it: len(it.requests) == 1)
        make_spans(provider, 10_000, "late")
        receiver.hanging = False
        assert used.flush(10.0)
    assert {len(each.message.resource_spans[0].scope_spans[0].spans) for each in receiver.requests} == {10}
    assert len(receiver.spans) == 110
    assert receiver.spans[-1].name == "late 9999"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_forked_child_has_connections_of_its_own(protocol: str, receiver: OtlpReceiver) -> None:
    """After a fork both processes send at the same time, and neither reads the answers to the other."""
    with traced(options("otlp", endpoint=endpoint_of(receiver, protocol), protocol=protocol)) as (provider, (used,)):
        make_spans(provider, 1, "before")
        assert used.flush(5.0)

        def work() -> bool:
            for _ in range(20):
                make_spans(provider, 1, "child")
                if not used.flush(5.0):
                    return False
            return True

        make_spans(provider, 1, "waiting")
        answer = in_child(work)
        for _ in range(20):
            make_spans(provider, 1, "parent")
            assert used.flush(5.0)
    assert answer == "True"
    names = [span.name for span in receiver.spans]
    assert {name: names.count(name) for name in names} == {
        "before 0": 1,
        "waiting 0": 1,
        "child 0": 20,
        "parent 0": 20,
    }
    if protocol == HTTP:
        by_name = {
            name: {each.headers[":peer"] for each in receiver.requests if spans_of(each.message)[0].name == name}
            for name in ("before 0", "child 0", "parent 0")
        }
        assert by_name["before 0"] == by_name["parent 0"]
        assert by_name["child 0"].isdisjoint(by_name["parent 0"])


def test_forked_workers_send_for_themselves(receiver: OtlpReceiver, tmp_path: Path) -> None:
    """If gunicorn loads the app before it forks, the traces, logs and metrics of every worker arrive."""
    given = {"endpoint": receiver.endpoint}
    config = write_config(tmp_path, traces=[{"otlp": given}], logs=[{"otlp": given}], metrics=[{"otlp": given}])
    with serve(config, workers=2) as server:
        answers = answers_of_both(server, lambda number: server.get(f"/items/{number}").json())
        server.terminate(timeout=5.0)
    expected = sorted(answer["trace_id"] for answer in answers)
    assert sorted(span.trace_id for span in receiver.spans if span.name == "SELECT") == expected
    assert sorted(record.trace_id for record in receiver.log_records if record.body == "found") == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_a_probe_says_why_nothing_arrived(
    protocol: str, signal: Any, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """In words, within its time, each time it is asked, and without a line in the log."""
    given = {"endpoint": endpoint_of(receiver, protocol), "protocol": protocol}
    receiver.status = 401
    for _ in range(2):
        with pytest.raises(DeliveryError, match=r"401|Unauthorized|UNAUTHENTICATED"):
            otlp.probe(options("otlp", signal, **given), settings(), 2.0)
    receiver.status, receiver.hanging = 200, True
    with pytest.raises(DeliveryError, match=r"timed out|Deadline|DEADLINE|no answer within"):
        otlp.probe(options("otlp", signal, **given), settings(), 0.5)
    with refusing() as nobody, pytest.raises(DeliveryError, match=r"refused|UNAVAILABLE"):
        otlp.probe(options("otlp", signal, endpoint=nobody, protocol=protocol), settings(), 0.5)
    assert [record.message for record in caplog.records if record.name.startswith("opentelemetry.exp")] == []


def test_an_empty_endpoint_turns_the_destination_off() -> None:
    assert otlp.create_destination(options("otlp", endpoint=""), settings()) is None
    assert otlp.describe(options("otlp", endpoint=""), settings()).startswith("off")
    assert otlp.probe(options("otlp", endpoint=""), settings(), 1.0) is None


HALVES = """
import logging
from contextlib import suppress
import brain_otel
brain_otel.setup()
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

tracer = trace.get_tracer("scope")
logging.addLevelName(33, "L\\udcff")
shop = logging.getLogger("shop")
shop.setLevel(1)

with brain_otel.start_transaction("before"):
    shop.info("before")
with suppress(ValueError), brain_otel.start_transaction("raising"):
    raise ValueError("bad \\udcff")
with tracer.start_as_current_span("name \\udcff") as span:
    span.add_event("event \\udcff")
    span.set_attribute("value", "v\\udcff")
    span.set_attribute("k\\udcff", 1)
    brain_otel.add_breadcrumb("crumb \\udcff", data={"d\\udcff": "v\\udcff"})
    brain_otel.set_tag("t\\udcff", "v\\udcff")
    brain_otel.set_context("c\\udcff", {"k\\udcff": "v\\udcff"})
    brain_otel.capture_message("message \\udcff", **{"k\\udcff": "v\\udcff"})
    brain_otel.capture_exception(ValueError("error \\udcff"))
    shop.info("body \\udcff", extra={"k\\udcff": "v\\udcff"})
    logging.getLogger("shop\\udcff").warning("logger")
    shop.log(33, "level")
    span.set_status(Status(StatusCode.ERROR, "status \\udcff"))
with brain_otel.start_transaction("after"):
    shop.info("after")
print(brain_otel.flush(5))
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_half_a_surrogate_pair_loses_no_batch(protocol: str, receiver: OtlpReceiver, tmp_path: Path) -> None:
    """The application may have one from `os.listdir` in names, texts, keys and values."""
    given = [{"otlp": {"endpoint": endpoint_of(receiver, protocol), "protocol": protocol, "schedule_delay": 60_000}}]
    config = write_config(tmp_path, traces=given, logs=given)
    done = run_python(HALVES, environment_of(config), pythonpath=[ROOT])
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert sorted(span.name for span in receiver.spans) == ["after", "before", "name \\udcff", "raising"]
    odd = receiver.span("name \\udcff")
    assert (odd.status, odd.status_description) == ("error", "status \\udcff")
    assert odd.events[0].name == "event \\udcff"
    by_body = {record.body: record for record in receiver.log_records}
    assert by_body.keys() == {
        "before",
        "message \\udcff",
        "ValueError: error \\udcff",
        "body \\udcff",
        "logger",
        "level",
        "after",
    }
    assert by_body["logger"].scope == "shop\\udcff"
    assert by_body["level"].severity == "L\\udcff"
    assert "failed while" not in done.stderr


def partly(rejected: int, message: str) -> bytes:
    """An answer; those to logs and metrics have the same form."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


TOLD = "rejected a part of what it accepted: "


def test_success_is_what_was_accepted(receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture) -> None:
    """A flush is incomplete if a part is rejected, or if no collector has answered; a warning loses nothing."""
    message = "\x1b[31mquota of token=abc exceeded\n"
    in_json = json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "no"}}).encode()
    cases: list[tuple[int, dict[str, str], bytes, str]] = [
        (200, {}, b"", ""),
        (200, {}, partly(2, message), TOLD + "2 spans (quota of (masked) exceeded)"),
        (200, {}, partly(2, message), ""),  # once a minute
        (200, {"Content-Type": "application/json"}, in_json, ""),
        (200, {}, partly(0, "old names"), "accepted records with a warning: spans (old names)"),
        (200, {"Content-Type": "text/html"}, b"<!doctype html>Log in", "a page (200), not an answer of a collector"),
        *((status, {}, b"", "") for status in (301, 302, 303, 304, 307, 308)),
    ]
    complete = []
    with traced(options("otlp", endpoint=receiver.endpoint)) as (provider, (used,)):
        for status, headers, receiver.answer, line in cases:
            receiver.respond = lambda status=status, headers=headers: (status, headers)
            caplog.clear()
            make_spans(provider, 4)
            complete.append(used.flush(5.0))
            assert [each for each in caplog.messages if line not in each] == []
            assert len(caplog.messages) == bool(line)
        caplog.clear()
        receiver.respond = receiver.answer = None
        make_spans(provider, 1)
        assert used.flush(5.0)
        log_counts()
    assert complete == [True, False, False, False, True, *([False] * 7)]
    assert any(f"{TOLD}5 spans" in each for each in caplog.messages)


def test_only_the_codes_of_the_specification_are_retried(receiver: OtlpReceiver) -> None:
    """429, 502, 503 and 504 once more, others not."""
    for status in (400, 404, 408, 413, 429, 500, 501, 502, 503, 504, 505):
        answers = iter([status])
        receiver.respond = lambda answers=answers: (next(answers, 200), {"Retry-After": "0"})
        with traced(options("otlp", endpoint=receiver.endpoint)) as (provider, (used,)):
            make_spans(provider, 1)
            assert used.flush(5.0) is (status in (429, 502, 503, 504)), status


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_a_probe_looks_at_the_answer(protocol: str, signal: Any, receiver: OtlpReceiver) -> None:
    """Rejected items are an error, and a warning is passed on."""
    given = options("otlp", signal, endpoint=endpoint_of(receiver, protocol), protocol=protocol)
    receiver.answer = partly(1, "no quota")
    with pytest.raises(DeliveryError, match=r"rejected by the receiver \(no quota\)"):
        otlp.probe(given, settings(), 5.0)
    receiver.answer = partly(0, "old names")
    with pytest.raises(PartialDelivery, match=r"delivered, with a warning \(old names\)"):
        otlp.probe(given, settings(), 5.0)
    receiver.answer = None
    assert str(otlp.probe(given, settings(), 5.0)).endswith("delivered")
