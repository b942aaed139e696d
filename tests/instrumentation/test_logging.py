"""Logging: trace ids on every record, one log record each, and nothing else changed for the application."""

import copy
import logging
import logging.config
import logging.handlers
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import _logs as otel_logs
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import brain_otel
from brain_otel import instrumentation
from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.runtime.text import MAX_TEXT, shortened
from brain_otel.testing import Telemetry

FORMAT = "%(trace_id)s %(span_id)s %(message)s"

EMPTY = ("", "")


class Kept(logging.Handler):
    """Keeps the records it gets and the lines that it would print."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self.records: list[Any] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))

    @property
    def ids(self) -> list[tuple[str, str]]:
        return [(record.trace_id, record.span_id) for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Give the handler of the logger `shop`, which lets everything through and does not propagate."""
    handler, logger = Kept(), logging.getLogger("shop")
    before = (logger.level, logger.propagate, logger.handlers[:])
    logger.setLevel(1)
    logger.propagate = False
    logger.handlers = [handler]
    yield handler
    logger.level, logger.propagate, logger.handlers = before
    logger.setLevel(before[0])


logger = logging.getLogger("shop")


def span_ids(telemetry: Telemetry) -> tuple[str, str]:
    (span,) = telemetry.spans
    return span["trace_id"], span["span_id"]


def bodies(telemetry: Telemetry) -> list[Any]:
    return [log["body"] for log in telemetry.logs]


def test_a_plain_format_string_shows_the_ids(telemetry: Telemetry, kept: Kept) -> None:
    """The ids are those of the current span, and empty without one."""
    logger.info("before")
    with brain_otel.start_transaction("work"):
        logger.info("within")
    logger.info("after")
    assert kept.ids == [EMPTY, span_ids(telemetry), EMPTY]
    assert kept.lines == ["  before", " ".join([*span_ids(telemetry), "within"]), "  after"]
    assert [(log["trace_id"], log["span_id"]) for log in telemetry.logs] == [
        (None, None),
        span_ids(telemetry),
        (None, None),
    ]


def test_ids_in_extra_are_kept(telemetry: Telemetry, kept: Kept) -> None:
    """`extra={"trace_id": ...}` raises nothing and stays on the record, in the log record and in Sentry."""
    with brain_otel.start_transaction("work"):
        logger.error("own", extra={"trace_id": "mine", "span_id": ""})
        logger.error("ours")
    (trace_id, span_id) = span_ids(telemetry)
    assert kept.ids == [("mine", ""), (trace_id, span_id)]
    assert [log["trace_id"] for log in telemetry.logs] == [trace_id, trace_id]
    assert [log["attributes"] for log in telemetry.logs] == [{"trace_id": "mine", "span_id": ""}, {}]
    own, given = telemetry.events
    assert {key: own["extra"][key] for key in ("trace_id", "span_id")} == {"trace_id": "mine", "span_id": ""}
    assert not {"trace_id", "span_id"} & given["extra"].keys()
    assert given["contexts"]["trace"]["trace_id"] == trace_id


def test_sentrys_extra_data_has_no_ids(telemetry: Telemetry, kept: Kept) -> None:
    """Neither in events nor in breadcrumbs: an event's trace context has them."""
    logger.info("outside")
    logger.error("outside")
    with brain_otel.start_transaction("work"):
        logger.info("inside", extra={"trace_id": "mine", "order": 7})
        logger.error("inside", extra={"order": 7})
    assert [crumb["data"] for crumb in telemetry.breadcrumbs] == [
        {},
        {},
        {"trace_id": "mine", "order": 7},
        {"order": 7},
    ]
    assert [event["extra"].get("order") for event in telemetry.events] == [None, 7]
    assert not any({"trace_id", "span_id"} & event["extra"].keys() for event in telemetry.events)


def test_levels_filters_and_adapters_have_effect(telemetry: Telemetry, kept: Kept) -> None:
    """An adapter's extra is an attribute; a record that a level, a filter or `disabled` stops is not emitted."""
    logging.LoggerAdapter(logger, {"tenant": "t1"}).info("adapted")
    logger.setLevel(logging.WARNING)
    logger.info("below")
    logger.setLevel(logging.DEBUG)
    kept.setLevel(logging.CRITICAL)
    logger.debug("no handler wants it")
    logger.addFilter(dropping := lambda record: "drop" not in record.getMessage())
    logger.info("drop")
    logger.removeFilter(dropping)
    logger.disabled = True
    logger.error("disabled")
    logger.disabled = False
    assert bodies(telemetry) == ["adapted", "no handler wants it"]
    assert telemetry.logs[0]["attributes"] == {"tenant": "t1"}


@pytest.mark.parametrize(
    ("level", "number", "text"),
    [
        (5, 1, "Level 5"),
        (10, 5, "DEBUG"),
        (20, 9, "INFO"),
        (25, 12, "Level 25"),
        (30, 13, "WARN"),
        (40, 17, "ERROR"),
        (50, 21, "FATAL"),
        (99, 24, "Level 99"),
    ],
)
def test_levels_become_severities(telemetry: Telemetry, kept: Kept, level: int, number: int, text: str) -> None:
    """Levels below DEBUG are TRACE."""
    logger.log(level, "text")
    (record,) = [each.log_record for each in telemetry._session.logs.get_finished_logs()]
    assert (record.severity_number.value, record.severity_text) == (number, text)
    assert record.timestamp == int(kept.records[0].created * 1e9)


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class BrokenError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Talkative:
    def __str__(self) -> str:
        logger.info("while being written out")
        return "talkative"


def test_weird_values_break_nothing(telemetry: Telemetry, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """A value that is no attribute, or cannot be encoded, becomes text; the application sees its own errors only."""
    extra: dict[Any, Any] = {
        "broken": Broken(),
        "huge": 2**70,
        "nothing": None,
        "nested": {"a": [1]},
        "lone": "\udc80",
        "talkative": Talkative(),
        "_private": object(),
        7: "seven",
    }
    logger.info("lone \udc80", extra=extra)
    assert telemetry.logs[-1]["body"] == "lone \\udc80"
    assert telemetry.logs[-1]["attributes"] == {
        "broken": f"<{__name__}.Broken>",
        "huge": str(2**70),
        "nothing": "None",
        "nested": '{"a": [1]}',
        "lone": "\\udc80",
        "talkative": "talkative",
        "7": "seven",
    }
    assert len(telemetry.logs) == 1
    assert len(kept.records) == 2
    for error in (BrokenError(), BrokenError("one")):
        try:
            raise error
        except BrokenError:
            logger.warning("broken", exc_info=True)
        assert telemetry.logs[-1]["attributes"]["exception.message"] == f"<{__name__}.BrokenError>"
        assert "raise error" in telemetry.logs[-1]["attributes"]["exception.stacktrace"]
    assert capsys.readouterr().err == ""


def test_wrong_arguments_are_reported_by_logging_itself(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    """`logging` writes to stderr, and the message is emitted without its arguments."""
    plain = logging.getLogger("plain")
    plain.propagate, plain.handlers = False, [logging.StreamHandler()]
    plain.error("%d items", "many")
    plain.propagate, plain.handlers = True, []
    assert "--- Logging error ---" in capsys.readouterr().err
    assert bodies(telemetry) == ["%d items"]


def test_a_very_long_text_is_cut(telemetry: Telemetry, kept: Kept) -> None:
    """With the number of missing characters: a queue counts records, not characters."""
    fits = "x" * MAX_TEXT
    long = "".join(f"{number} " for number in range(20_000))
    logger.info(fits, extra={"fits": fits})
    logger.info("%s", long, extra={"long": long, "several": ["short", long]})
    try:
        raise ValueError(long)
    except ValueError:
        logger.warning("failed", exc_info=True)
    logger.handle(logging.makeLogRecord({"name": "shop", "msg": "sent", "levelno": 20, "exc_text": long}))
    brain_otel.capture_message(long, text=long)
    first, second, failed, sent, message = telemetry.logs
    assert (first["body"], first["attributes"]) == (fits, {"fits": fits})
    assert second["body"] == shortened(long, MAX_TEXT)
    assert second["attributes"]["long"] == shortened(long, MAX_TEXT)
    assert list(second["attributes"]["several"]) == ["short", shortened(long, MAX_TEXT)]
    trace = failed["attributes"]["exception.stacktrace"]
    assert trace.startswith("Traceback")
    assert "characters left out" in trace
    assert "\nValueError: 0 1 2 3" in trace
    assert sent["attributes"]["exception.stacktrace"] == shortened(long, MAX_TEXT)
    assert (message["body"], message["attributes"]["text"]) == (shortened(long, MAX_TEXT), shortened(long, MAX_TEXT))
    for log in telemetry.logs:
        values = [log["body"], *log["attributes"].values()]
        assert all(len(value) < MAX_TEXT + 100 for value in values if isinstance(value, str))
    assert kept.records[1].args == (long,)


def test_a_signal_handler_can_log_during_a_record(telemetry: Telemetry, kept: Kept) -> None:
    """The SDK holds locks while it creates a logger, so each name asks for one once."""
    logger.info("first")
    brain_otel.capture_message("first said")
    provider = otel_logs.get_logger_provider()
    assert isinstance(provider, LoggerProvider)

    def interrupt() -> None:
        logger.info("second")
        brain_otel.capture_message("second said")

    thread = threading.Thread(target=interrupt, daemon=True)
    with provider._logger_cache_lock, provider._active_loggers_lock:
        thread.start()
        thread.join(5)
        finished = not thread.is_alive()
    thread.join()
    assert finished
    assert bodies(telemetry) == ["first", "first said", "second", "second said"]


@pytest.mark.parametrize("template", ["mission %s", "mission %r", "mission %(name)s"])
def test_formatting_an_argument_creates_no_telemetry(telemetry: Telemetry, kept: Kept, template: str) -> None:
    """Also if the record has no other handler than ours and sentry-sdk's."""

    class Mission:
        def __str__(self) -> str:
            brain_otel.capture_message("shown")
            brain_otel.add_breadcrumb(message="shown")
            with brain_otel.start_span(op="db.query", description="load"):
                return "m1"

        __repr__ = __str__

    logger.handlers = [logging.NullHandler()]
    with brain_otel.start_transaction("work"):
        logger.error(template, {"name": Mission()} if "name" in template else Mission())
    assert bodies(telemetry) == ["mission m1"]
    (event,) = telemetry.events
    assert event["logentry"]["formatted"] == "mission m1"
    assert event["logentry"]["message"] == template
    assert [span["name"] for span in telemetry.spans] == ["work"]


def test_a_record_has_two_more_attributes_and_no_other_change(telemetry: Telemetry, kept: Kept) -> None:
    """All else is as the standard library made it."""
    seen: list[dict[str, Any]] = []

    class Looking(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            seen.append(dict(vars(record)))
            return True

    logger.handlers = [Looking()]
    try:
        raise RuntimeError
    except RuntimeError:
        logger.exception("text %s", "argument")
    (record,) = seen
    assert record.keys() - vars(logging.makeLogRecord({})).keys() == {"trace_id", "span_id"}
    assert (record["msg"], record["args"], record["exc_text"]) == ("text %s", ("argument",), None)
    expected = ("test_a_record_has_two_more_attributes_and_no_other_change", "test_logging.py")
    assert (record["funcName"], record["filename"]) == expected


def test_pytests_caplog_sees_the_ids(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """It is a handler of the root logger, like the application's own."""
    with caplog.at_level(logging.INFO), brain_otel.start_transaction("work"):
        logging.getLogger("elsewhere").info("captured")
    (record,) = caplog.records
    assert (vars(record)["trace_id"], vars(record)["span_id"]) == span_ids(telemetry)


def test_records_in_a_queue_keep_their_ids_and_are_emitted_once(telemetry: Telemetry, kept: Kept) -> None:
    """QueueListener formats them on another thread, with the ids of the thread that logged."""
    waiting: queue.Queue[logging.LogRecord] = queue.Queue()
    logger.handlers = [logging.handlers.QueueHandler(waiting)]
    listener = logging.handlers.QueueListener(waiting, kept)
    listener.start()
    with brain_otel.start_transaction("work"):
        logger.info("queued")
    listener.stop()
    assert kept.ids == [span_ids(telemetry)]
    assert bodies(telemetry) == ["queued"]


def test_a_record_of_another_process_keeps_its_ids(telemetry: Telemetry, kept: Kept) -> None:
    """A server that receives records calls `makeLogRecord` and `Logger.handle`."""
    facts = {"name": "shop", "msg": "sent", "levelno": 20, "levelname": "INFO", "exc_text": "Traceback ..."}
    with brain_otel.start_transaction("work"):
        logger.handle(logging.makeLogRecord({**facts, "trace_id": "a", "span_id": "b"}))
        logger.handle(logging.makeLogRecord({**facts, "exc_info": "no tuple"}))
    assert kept.ids == [("a", "b"), span_ids(telemetry)]
    assert [log["attributes"]["exception.stacktrace"] for log in telemetry.logs] == ["Traceback ..."] * 2


class Handling(logging.Logger):
    """A logger that handles on its own, in words of the standard library."""

    def handle(self, record: logging.LogRecord) -> None:
        if self.filter(record):
            self.callHandlers(record)


class Calling(logging.Logger):
    def handle(self, record: logging.LogRecord) -> None:
        super().handle(record)

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802
        super().callHandlers(record)


@pytest.mark.parametrize("kind", [Handling, Calling])
def test_loggers_of_other_classes_have_ids_and_emit_once(telemetry: Telemetry, kind: type[logging.Logger]) -> None:
    """The application may derive its own class from `Logger`."""
    own = kind("own")
    own.handlers = [kept := Kept()]
    with brain_otel.start_transaction("work"):
        own.warning("text")
    assert kept.ids == [span_ids(telemetry)]
    assert bodies(telemetry) == ["text"]


def test_fields_of_a_record_factory_are_attributes(telemetry: Telemetry, kept: Kept) -> None:
    """Like `extra`."""
    factory = logging.getLogRecordFactory()

    def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        record.trace_id = "made"
        return record

    logging.setLogRecordFactory(made)
    try:
        logger.info("text")
    finally:
        logging.setLogRecordFactory(factory)
    assert kept.ids == [("made", "")]


def test_a_message_may_be_a_dict(telemetry: Telemetry, kept: Kept) -> None:
    """Structlog passes one, and keeps its own data in names with an underscore."""
    logger.info({"event": "paid", "order": 7}, extra={"_logger": logger, "_name": "info"})
    (log,) = telemetry.logs
    assert (log["body"], log["attributes"]) == ("{'event': 'paid', 'order': 7}", {})


@pytest.mark.parametrize(
    ("template", "arguments", "sent"),
    [
        ("%(user)s came with %(password)s", {"user": "joe", "password": "hunter2"}, "joe came with [Filtered]"),
        ("got %(token)r", {"token": "hunter2"}, "got '[Filtered]'"),
        ("pin %(pin)d of %(user)s", {"pin": 4821, "user": "joe"}, "pin %(pin)d of %(user)s"),
        ("%(db)s", {"db": {"api_key": "hunter2", "host": "db"}}, "{'api_key': '[Filtered]', 'host': 'db'}"),
        ("%(tokens)d tokens of %(model)s", {"tokens": 512, "model": "m1"}, "512 tokens of m1"),
    ],
)
def test_a_secret_named_argument_is_masked(
    telemetry: Telemetry, kept: Kept, template: str, arguments: dict[str, Any], sent: str
) -> None:
    """The message has lost its name. The application's own handlers print it as it is."""
    logging.getLogger("shop").error(template, arguments)
    assert kept.lines[0].endswith(template % arguments)
    assert telemetry.events[0]["logentry"]["formatted"] == sent
    telemetry.assert_private("hunter2")
    if "db" not in arguments:  # the names in it stay in the message, which is masked later
        assert telemetry.logs[0]["body"] == sent


def test_a_thread_without_a_context_has_empty_ids(telemetry: Telemetry, kept: Kept) -> None:
    """Nothing is raised."""
    with brain_otel.start_transaction("work"):
        thread = threading.Thread(target=logger.info, args=("bare",))
        thread.start()
        thread.join()
    assert kept.ids == [EMPTY]


@pytest.mark.parametrize(
    "name", ["brain_otel.runtime.guard", "opentelemetry.sdk", "sentry_sdk.errors", "uvicorn.access"]
)
def test_loggers_of_telemetry_and_access_logs_are_not_emitted(telemetry: Telemetry, name: str) -> None:
    """Those of telemetry would feed on themselves; an access log repeats the request."""
    logging.getLogger(name).error("text")
    logging.getLogger(name.replace("_", "")).error("other")
    assert bodies(telemetry) == (["other"] if "_" in name else [])


def test_records_logged_by_a_sending_exporter_are_not_emitted(telemetry: Telemetry, kept: Kept) -> None:
    """OpenTelemetry's exporters suppress instrumentation; the records have ids only, whatever their logger."""
    with suppress_instrumentation():
        logger.info("sending")
    assert bodies(telemetry) == []
    assert kept.ids == [EMPTY]


def test_a_processor_may_log(telemetry: Telemetry, kept: Kept) -> None:
    """Its line has ids and makes no further log record."""

    class Logging(SimpleLogRecordProcessor):
        def on_emit(self, log_record: Any) -> None:  # noqa: ARG002
            logger.warning("exported")

    provider = otel_logs.get_logger_provider()
    assert isinstance(provider, LoggerProvider)
    provider.add_log_record_processor(Logging(InMemoryLogRecordExporter()))  # type: ignore[no-untyped-call]
    logger.info("text")
    assert bodies(telemetry) == ["text"]
    assert [record.msg for record in kept.records] == ["text", "exported"]


@pytest.mark.parametrize("level", [logging.NOTSET, logging.ERROR])
def test_contribs_handler_replaces_ours(telemetry: Telemetry, kept: Kept, level: int) -> None:
    """The application has installed it: each record is emitted once, whether it handles the record or not."""
    contribs = LoggingHandler(level=level)
    logger.addHandler(contribs)
    logger.info("one")
    logger.error("two")
    assert bodies(telemetry) == ["one", "two"]


def test_a_handler_of_another_provider_changes_nothing(telemetry: Telemetry, kept: Kept) -> None:
    """We emit to our provider although the handler emits to its own."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.info("text")
    assert bodies(telemetry) == ["text"]
    assert [each.log_record.body for each in exporter.get_finished_logs()] == ["text"]


def test_contribs_instrumentor_after_setup_emits_each_record_once(telemetry: Telemetry) -> None:
    """The application's call adds a handler to the root logger."""
    before = set(logging.getLogger().handlers)
    LoggingInstrumentor().instrument()
    (added,) = set(logging.getLogger().handlers) - before
    try:
        logging.getLogger("elsewhere").error("text")
    finally:
        LoggingInstrumentor().uninstrument()
        # Contrib keeps it, `logging` flushes it at exit, and its flush starts a thread, which Python 3.12 refuses.
        added.flush = lambda: None  # type: ignore[method-assign]
    logging.getLogger("elsewhere").error("then")
    assert bodies(telemetry) == ["text", "then"]


def test_a_record_that_makes_an_event_has_its_id(telemetry: Telemetry, kept: Kept) -> None:
    """`logger.exception` makes an event in Sentry; its log record and the helper give the event's id."""
    with brain_otel.start_transaction("work"):
        try:
            raise RuntimeError("failed")
        except RuntimeError as error:
            logger.exception("it failed")
            captured = brain_otel.capture_exception(error)
    (event,), (log,) = telemetry.events, telemetry.logs
    assert captured == event["event_id"] == log["attributes"]["brain_otel.event_id"]
    assert (log["attributes"]["exception.type"], log["attributes"]["exception.message"]) == ("RuntimeError", "failed")


def test_uninstrument_stops_emitting(telemetry: Telemetry, kept: Kept) -> None:
    """Format strings still find the ids, and `instrument` may follow."""
    installed = vars(logging.Logger)["callHandlers"]
    handle = vars(logging.Logger)["handle"]
    ours = instrumentation._registry.installed["logging"]
    ours.uninstrument()
    assert vars(logging.Logger)["callHandlers"] is installed.__wrapped__
    logger.info("out")
    assert kept.ids == [EMPTY]
    ours.instrument(InstrumentationSettings())
    assert vars(logging.Logger)["handle"] is handle
    logger.info("in")
    assert bodies(telemetry) == ["in"]


def test_a_later_wrapper_of_another_stays(telemetry: Telemetry, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours inside of it does nothing after `uninstrument`."""
    seen: list[str] = []
    inner = logging.Logger.callHandlers

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        inner(self, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", call_handlers)
    ours = instrumentation._registry.installed["logging"]
    ours.uninstrument()
    assert vars(logging.Logger)["callHandlers"] is call_handlers
    logger.info("out")
    ours.instrument(InstrumentationSettings())
    logger.info("in")
    ours.uninstrument()
    assert vars(logging.Logger)["callHandlers"] is call_handlers
    assert seen == ["out", "in"]
    assert bodies(telemetry) == ["in"]
    assert [record.msg for record in kept.records] == ["out", "in"]


def test_a_record_can_be_copied_and_pickled(telemetry: Telemetry, kept: Kept) -> None:
    """The ids are plain strings."""
    with brain_otel.start_transaction("work"):
        logger.info("text")
    (record,) = kept.records
    assert type(record.trace_id) is type(record.span_id) is str
    assert vars(copy.copy(record)) == vars(record)
