"""Log records as Sentry's log items: real records, a real client, and an ingest that listens."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import _logs as otel_logs
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider

import brain_otel
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.sentry import create_destination, describe
from brain_otel.events.listeners import local_trace_entered
from brain_otel.instrumentation.logging import LoggingInstrumentation
from brain_otel.sentry.event_size import MAX_BYTES
from brain_otel.sentry.masked_items import MAX_LOG_BODY, MAX_LOG_TEXT, MAX_LOG_TEXTS
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge, Connect
from tests.sentry.test_spotlight import Spotlight
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, run_python, uvicorn_command

Json = dict[str, Any]
Logging = Callable[..., Bridge]

logger = logging.getLogger("shop")


@pytest.fixture
def log_to_sentry(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logging]:
    """Connect, and send log records of at least a level, DEBUG by default."""
    instrumentation = LoggingInstrumentation()

    def connected(logs: Json | None = None, **sentry: Any) -> Bridge:
        bridge = connect(**sentry)
        destination = create_destination(_options(logs or {"level": "debug"}), _settings(bridge))
        assert destination is not None
        assert destination.log_record_processor is not None
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(destination.log_record_processor)
        monkeypatch.setattr(otel_logs._internal, "_LOGGER_PROVIDER", provider)
        instrumentation.instrument(InstrumentationSettings())
        return bridge

    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield connected
    logger.setLevel(level)
    instrumentation.uninstrument()


def _options(values: Json) -> Options:
    return Options(values, name="sentry", signal="logs", place="logger_provider.processors[0].sentry")


def _settings(bridge: Bridge | None) -> Settings:
    settings = Settings(environment="test", source="test", document={})
    return settings if bridge is None else settings._replace(sentry=bridge.settings)


def items_of(bridge: Bridge, number: int = 1) -> list[Json]:
    """The log items that have arrived, once there are ``number``, by their body."""
    bridge.flush()
    bridge.ingest.wait_for(lambda it: sum(item.headers["item_count"] for item in it.items("log")) >= number)
    return [each for item in bridge.ingest.items("log") for each in item.json["items"]]


def values_of(item: Json) -> Json:
    return {name: each["value"] for name, each in item["attributes"].items()}


def test_a_line_is_an_item_as_sentry_sdk_makes_them(connect: Connect, log_to_sentry: Logging) -> None:
    """sentry-sdk's own handler, and ours, of the same line."""

    def line() -> None:
        logger.warning("order %d of %s", 7, "Ann", extra={"shelf": 3.5, "parts": ["a", "b"], "urgent": True})

    def sent_by(bridge: Bridge) -> tuple[Json, Json]:
        line()
        (item,) = items_of(bridge)
        bridge.ingest.envelopes.clear()
        return item, item.pop("attributes")

    theirs, their_attributes = sent_by(connect(options={"enable_logs": True}))
    ours, our_attributes = sent_by(log_to_sentry())
    varying = ("sentry.origin", "sentry.release")
    assert {**ours, "timestamp": 0} == {**theirs, "timestamp": 0}
    assert abs(ours["timestamp"] - theirs["timestamp"]) < 60
    assert {name: each for name, each in our_attributes.items() if name not in varying} == {
        name: each for name, each in their_attributes.items() if name not in varying
    }
    assert our_attributes["sentry.message.template"]["value"] == "order %d of %s"
    assert our_attributes["sentry.message.parameter.0"] == {"value": 7, "type": "integer"}


def test_an_envelope_of_logs_is_one_of_sentrys(log_to_sentry: Logging) -> None:
    """https://develop.sentry.dev/sdk/telemetry/logs/."""
    bridge = log_to_sentry()
    for number in range(3):
        logger.info("line %d", number)
    assert [item["body"] for item in items_of(bridge, 3)] == ["line 0", "line 1", "line 2"]
    (envelope,) = [each for each in bridge.ingest.envelopes if each.items[0].type == "log"]
    (item,) = envelope.items
    assert item.headers["content_type"] == "application/vnd.sentry.items.log+json"
    assert item.headers["item_count"] == 3
    assert {name: values_of(item.json["items"][0])[name] for name in ("sentry.environment", "sentry.release")} == {
        "sentry.environment": "test",
        "sentry.release": "shop@1",
    }
    assert values_of(item.json["items"][0])["sentry.sdk.name"].startswith("sentry.python")


def test_levels_are_sentrys(log_to_sentry: Logging) -> None:
    """Those of the standard library, of levels between, and of OpenTelemetry's logs."""
    bridge = log_to_sentry({"level": "trace"})
    logger.setLevel(1)
    for level in (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(level, "level %d", level)
    emitter = otel_logs.get_logger("pure")
    emitter.emit(body="none")
    emitter.emit(body="trace", severity_number=SeverityNumber.TRACE3)
    emitter.emit(body="fatal", severity_number=SeverityNumber.FATAL4)
    levels = {item["body"]: item["level"] for item in items_of(bridge, 9)}
    assert levels == {
        "level 5": "trace",
        "level 10": "debug",
        "level 20": "info",
        "level 30": "warn",
        "level 40": "error",
        "level 50": "fatal",
        "none": "info",
        "trace": "trace",
        "fatal": "fatal",
    }


def test_the_lowest_level_is_info_by_default(log_to_sentry: Logging) -> None:
    """As in sentry-sdk."""
    bridge = log_to_sentry({"level": None})
    logger.debug("not sent")
    logger.info("sent")
    assert [item["body"] for item in items_of(bridge)] == ["sent"]


@pytest.mark.parametrize("sampled", [True, False])
def test_a_line_belongs_to_its_span(log_to_sentry: Logging, sampled: bool) -> None:
    """Of the current span, of the local root after it has ended, in a thread; sampled or not."""
    bridge = log_to_sentry(sampled=sampled)
    trace = LocalTrace(kind="request")
    with local_trace_entered(trace):
        with bridge.tracer.start_as_current_span("root") as root:
            trace.start(root, None)
            logger.info("in the root")
            with bridge.tracer.start_as_current_span("inner") as inner:
                logger.info("in a span")
                sentry_sdk.logger.info("by sentry-sdk")
        logger.info("after the root")
    logger.info("outside")
    found = {item["body"]: (item["trace_id"], item.get("span_id")) for item in items_of(bridge, 5)}
    ids = [
        (f"{each.get_span_context().trace_id:032x}", f"{each.get_span_context().span_id:016x}")
        for each in (root, inner)
    ]
    assert found["in the root"] == found["after the root"] == ids[0]
    assert found["in a span"] == found["by sentry-sdk"] == ids[1]
    assert found["outside"][0] != ids[0][0]
    assert found["outside"][1] is None


def test_a_user_is_on_the_lines_of_its_request(log_to_sentry: Logging) -> None:
    """As sentry-sdk has it: with `send_default_pii` alone."""
    bridge = log_to_sentry(send_default_pii=True)
    with local_trace_entered(LocalTrace(kind="request")):
        brain_otel.set_user_context(user_id="u1")
        logger.info("of a user")
    logger.info("of nobody")
    users = {item["body"]: values_of(item).get("user.id") for item in items_of(bridge, 2)}
    assert users == {"of a user": "u1", "of nobody": None}


class Secretive:
    """An argument whose text is secret by its name alone."""

    def __str__(self) -> str:
        logger.info("a line within a line")
        return "hunter2"


@pytest.mark.parametrize(
    ("message", "arguments", "body"),
    [
        ("password=%s", ("hunter2",), "password=[Filtered]"),
        ("user %s password=%s", ("Ann", "hunter2"), "user Ann password=[Filtered]"),
        ("sign in %(password)s", ({"password": "hunter2"},), "sign in [Filtered]"),
        ("sign in %(it)s", ({"it": {"api_key": "hunter2"}},), None),
        ("password=%s", (Secretive(),), "password=[Filtered]"),
        ("https://ann:%s@shop.example/", ("hunter2",), None),
        ("%s", ({"token": "hunter2"},), None),
        ("api_key=%.7s", ("hunter2 and more",), "api_key=[Filtered]"),
        ("Authorization: Bearer %s", ("hunter2hunter2hunter2",), None),
    ],
)
def test_what_is_private_stays(
    log_to_sentry: Logging, ingest: SentryIngest, message: str, arguments: tuple[Any, ...], body: str | None
) -> None:
    """In the text, in its arguments, which lack the name in the text, and in attributes."""
    bridge = log_to_sentry()
    logger.info(message, *arguments, extra={"password": "hunter2", "visible": "yes"})
    item = next(each for each in items_of(bridge) if each["body"] != "a line within a line")
    assert body in (item["body"], None)
    assert values_of(item)["visible"] == "yes"
    assert not [each for each in ingest.items() if b"hunter2" in each.payload]


def test_arguments_that_are_not_private_stay_beside_those_that_are(log_to_sentry: Logging) -> None:
    """The text still shows them."""
    bridge = log_to_sentry()
    logger.info("user %s password=%s", "Ann", "hunter2")
    values = values_of(items_of(bridge)[0])
    assert [values[f"sentry.message.parameter.{number}"] for number in (0, 1)] == ["Ann", "[Filtered]"]


def test_an_error_is_an_event_and_a_line(log_to_sentry: Logging) -> None:
    """Unhandled, captured, logged: none is missing from the logs. The frames are in the event."""
    bridge = log_to_sentry()
    for capture in (brain_otel.capture_exception, lambda: logger.exception("it failed")):
        with local_trace_entered(LocalTrace(kind="request")):
            try:
                raise KeyError("shelf")
            except KeyError:
                capture()
    brain_otel.capture_message("look", "warning")
    items = {item["body"]: values_of(item) for item in items_of(bridge, 3)}
    assert set(items) == {"KeyError: 'shelf'", "it failed", "look"}
    bridge.ingest.wait_for(lambda it: len(it.events) == 3)
    ids = {event["event_id"] for event in bridge.ingest.events}
    assert {values["brain_otel.event_id"] for values in items.values()} <= ids
    assert [values.get("exception.type") for values in items.values()].count("KeyError") == 2
    assert not any("exception.stacktrace" in values for values in items.values())


def test_our_lines_and_those_of_the_sdks_are_no_items(log_to_sentry: Logging) -> None:
    """A failure to send must not be something to send; neither by sentry-sdk's own handler."""
    bridge = log_to_sentry()
    names = ("brain_otel", "brain_otel.delivery.target_log", "sentry_sdk.errors", "opentelemetry.sdk", "httpx")
    for name in names:
        logging.getLogger(name).error("from %s", name)
    sentry_sdk.get_client().options["enable_logs"] = True
    for name in names:
        logging.getLogger(name).error("from %s", name)
    logger.info("sent")
    assert {item["body"] for item in items_of(bridge)} == {"sent"}


def test_a_line_is_sent_once_beside_sentry_sdks_handler(log_to_sentry: Logging) -> None:
    """Ours takes its place."""
    bridge = log_to_sentry(options={"enable_logs": True})
    logger.info("once")
    sentry_sdk.logger.info("by sentry-sdk")
    assert Counter(item["body"] for item in items_of(bridge, 2)) == {"once": 1, "by sentry-sdk": 1}


def test_lines_are_bounded(log_to_sentry: Logging) -> None:
    """In their text, each argument, each attribute, and all together."""
    bridge = log_to_sentry()
    logger.info("x" * 100_000, extra={f"key{number}": "word " * 5_000 for number in range(50)})
    logger.info("%s %s", "y " * 50_000, [1, 2] * 50_000)
    logger.info("%d" * 200, *range(200))
    for item in items_of(bridge, 3):
        texts = [each for each in values_of(item).values() if isinstance(each, str)]
        assert len(item["body"]) <= MAX_LOG_BODY + 50
        assert max(map(len, texts)) <= MAX_LOG_TEXT + 50
        assert sum(map(len, texts)) <= MAX_LOG_TEXTS + 100 * 50
        assert len([name for name in item["attributes"] if name.startswith("sentry.message.parameter")]) <= 50


def test_many_large_lines_are_several_envelopes(log_to_sentry: Logging) -> None:
    """Sentry takes 1 MB of logs in one item; nothing is lost."""
    bridge = log_to_sentry()
    for number in range(99):
        logger.info("%d %s", number, "\u2603 " * 4_000)
    assert sorted(int(item["body"].partition(" ")[0]) for item in items_of(bridge, 99)) == [*range(99)]
    sizes = [len(item.payload) for item in bridge.ingest.items("log")]
    assert len(sizes) > 1
    assert max(sizes) < MAX_BYTES


def test_100_lines_are_sent_at_once(log_to_sentry: Logging) -> None:
    """Without a flush, and without waiting for 5 seconds."""
    bridge = log_to_sentry()
    started = time.monotonic()
    for number in range(100):
        logger.info("line %d", number)
    bridge.ingest.wait_for(lambda it: len(it.items("log")) == 1)
    assert time.monotonic() - started < 5
    assert bridge.ingest.items("log")[0].headers["item_count"] == 100


def test_dropped_lines_are_counted(log_to_sentry: Logging, caplog: pytest.LogCaptureFixture) -> None:
    """By number and bytes, and one line says so."""
    bridge = log_to_sentry()
    client: Any = sentry_sdk.get_client()
    with client.log_batcher._lock:  # the thread that sends is busy
        client.log_batcher._buffer.extend([{"attributes": {}}] * client.log_batcher.MAX_BEFORE_DROP)
    with caplog.at_level(logging.WARNING, "brain_otel"):
        logger.info("dropped")
    client.log_batcher._buffer.clear()
    bridge.flush()
    bridge.ingest.wait_for(lambda it: bool(it.client_reports))
    counts = {each["category"]: each["quantity"] for each in bridge.ingest.client_reports[0]["discarded_events"]}
    assert counts["log_item"] == 1
    assert counts["log_byte"] > 100
    assert "log_item (queue_overflow)" in caplog.text


def test_a_rate_limit_of_logs_holds(log_to_sentry: Logging) -> None:
    """Errors pass; lines are dropped and counted, as Sentry wants it."""
    bridge = log_to_sentry()
    answers = iter([(429, {"X-Sentry-Rate-Limits": "60:log_item:organization"})])
    bridge.ingest.respond = lambda: next(answers, (200, {}))
    logger.info("first")
    bridge.destination.flush(0.5)
    bridge.ingest.wait_for(lambda it: len(it.items("log")) == 1)
    logger.info("second")
    brain_otel.capture_message("an error")
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.events) == 1 and bool(it.client_reports))
    assert len(bridge.ingest.items("log")) == 1
    counts = [each for report in bridge.ingest.client_reports for each in report["discarded_events"]]
    reasons = Counter((each["category"], each["reason"]) for each in counts)
    assert {("log_item", "ratelimit_backoff"), ("log_byte", "ratelimit_backoff")} <= reasons.keys()


def test_spotlight_gets_lines_too(log_to_sentry: Logging) -> None:
    """Masked, as Sentry does, and without a DSN."""
    with Spotlight() as spotlight:
        bridge = log_to_sentry(spotlight=spotlight.url, dsn=None)
        logger.info("password=hunter2 for %s", "Ann")
        bridge.flush()
        (payload,) = spotlight.payloads("log")
        assert payload["items"][0]["body"] == "password=[Filtered] for Ann"


def test_an_application_that_logs_while_an_item_is_made_is_not_caught_in_a_loop(log_to_sentry: Logging) -> None:
    """Its lines are lost in logs, as in every other destination."""
    bridge = log_to_sentry()
    logger.info("%s", Secretive())
    logger.info("%(it)s", {"it": Secretive()})
    bodies = [item["body"] for item in items_of(bridge, 2)]
    assert bodies.count("hunter2") == 2
    assert set(bodies) == {"hunter2", "a line within a line"}  # which pytest's own handlers caused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level": "loud"}, "allowed: trace, debug, info, warning, error, fatal"),
        ({"levels": "info"}, "allowed: the keys enabled, level"),
        ({}, "allowed: beside sentry or sentry_otlp in tracer_provider.processors"),
    ],
)
def test_a_wrong_option_is_an_error(bridge: Bridge, values: Json, message: str) -> None:
    """So is a file that sends logs alone to Sentry."""
    if not values:
        bridge.close()
    with pytest.raises(ConfigurationError, match=message):
        create_destination(_options(values), _settings(bridge))


def test_without_a_dsn_it_is_off(bridge: Bridge) -> None:
    """As for traces."""
    assert "envelope" in describe(_options({"enabled": True}), _settings(bridge))
    assert create_destination(_options({}), _settings(None)) is None


@pytest.mark.parametrize("word", ["", "false", "0", "off"])
def test_what_is_not_enabled_is_no_destination(word: str) -> None:
    """A variable that names it enables it."""

    def names(environ: dict[str, str]) -> list[str]:
        variables = {"SENTRY_DSN": "http://k@127.0.0.1:9/1", "SENTRY_ENABLE_LOGS": word, **environ}
        found = read_settings(variables, environment="production").destinations
        return [each.name for each in found if each.signal == "logs"]

    assert names({}) == ["otlp"]
    assert names({"SENTRY_ENABLE_LOGS": "yes"}) == ["otlp", "sentry"]
    assert names({"OTEL_LOGS_EXPORTER": "sentry"}) == ["sentry"]


def test_lines_of_a_service_arrive(tmp_path: Path) -> None:
    """By the packaged file, over the spool, those of the last seconds before SIGTERM too; each once, in its trace."""
    with SentryIngest() as ingest:
        variables = {
            "SETUP": "1",
            "SENTRY_DSN": ingest.dsn,
            "SENTRY_ENABLE_LOGS": "true",
            "ENVIRONMENT": "production",
        }
        variables |= {"BRAIN_OTEL_SPOOL_DIR": str(tmp_path), "SENTRY_TRACES_SAMPLE_RATE": "1.0"}
        port = free_port()
        with Server(uvicorn_command("tests.apps.logged:app", port), port, env=variables, pythonpath=[ROOT]) as server:
            for path in ("/async", "/sync", "/threads", "/background", "/span", "/boom", "/logged-boom"):
                server.get(path)
            server.terminate()
        ingest.wait_for(lambda it: len(it.transactions) == 7)
        ingest.wait_for(lambda it: b"".join(each.payload for each in it.items("log")).count(b'"shop"') == 11)
        items = [each for item in ingest.items("log") for each in item.json["items"]]
        traces = {each["transaction"]: each["contexts"]["trace"]["trace_id"] for each in ingest.transactions}
        found = {(item["body"], item["trace_id"]) for item in items if values_of(item)["logger.name"] == "shop"}
        outside = {body for body, trace in found if trace not in traces.values()}
        assert outside == {"imported", "without context"}
        assert {each for each in found if each[0] not in outside} == {
            ("async", traces["GET /async"]),
            ("sync", traces["GET /sync"]),
            ("to_thread", traces["GET /threads"]),
            ("with context", traces["GET /threads"]),
            ("task", traces["GET /threads"]),
            ("background sync", traces["GET /background"]),
            ("background async", traces["GET /background"]),
            ("inner", traces["GET /span"]),
            ("it failed", traces["GET /logged-boom"]),
        }
        errors = {item["trace_id"]: item["body"] for item in items if values_of(item)["logger.name"] == "brain_otel"}
        assert errors[traces["GET /boom"]] == "RuntimeError: boom"
        assert len({str(item) for item in items}) == len(items)


def test_logs_are_off_by_default(tmp_path: Path) -> None:
    """No packaged file makes a log record for Sentry, nor imports the module."""
    program = (
        "import sys, brain_otel; brain_otel.setup(); from opentelemetry import _logs;"
        "print(type(_logs.get_logger_provider()).__name__, 'brain_otel.sentry.logs' in sys.modules)"
    )
    for environment, variables in (
        ("development", {}),
        ("production", {}),
        ("production", {"SENTRY_ENABLE_LOGS": ""}),
    ):
        given = {"SENTRY_DSN": "http://k@127.0.0.1:9/1", "ENVIRONMENT": environment, **variables}
        result = run_python(program, given, cwd=tmp_path)
        assert result.stdout.splitlines()[-1] == "ProxyLoggerProvider False", result.stderr
