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
from brain_otel.configuration.settings import InstrumentationSettings
from brain_otel.runtime.text import MAX_TEXT
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
    """They are those of the current span, and empty outside of any."""
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


def test_what_the_application_gives_is_kept(telemetry: Telemetry, kept: Kept) -> None:
    """`extra={"trace_id": ...}` is no error and stays, on the record, in the log record and in Sentry."""
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


def test_sentry_gets_no_ids_among_the_extra_data(telemetry: Telemetry, kept: Kept) -> None:
    """Neither in an event nor in a breadcrumb, in a trace or outside: an event's trace context has them."""
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


def test_adapters_and_levels(telemetry: Telemetry, kept: Kept) -> None:
    """An adapter's extra is an attribute; what the logger's level, a filter or `disabled` stops is not emitted."""
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
def test_severities(telemetry: Telemetry, kept: Kept, level: int, number: int, text: str) -> None:
    """Python's levels become OpenTelemetry's severities; what is below DEBUG is TRACE."""
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
    """What cannot be an attribute, or not be encoded, is written out; the application's own error is its own."""
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
        "nested": "{'a': [1]}",
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


def test_arguments_that_do_not_fit_are_logged_as_ever(
    telemetry: Telemetry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logging says so on stderr, and the message without its arguments is emitted."""
    plain = logging.getLogger("plain")
    plain.propagate, plain.handlers = False, [logging.StreamHandler()]
    plain.error("%d items", "many")
    plain.propagate, plain.handlers = True, []
    assert "--- Logging error ---" in capsys.readouterr().err
    assert bodies(telemetry) == ["%d items"]


def cut(text: str) -> str:
    """What is left of a text that is too long."""
    half = MAX_TEXT // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"


def test_what_is_very_long_is_cut_in_the_middle(telemetry: Telemetry, kept: Kept) -> None:
    """A queue counts records, not characters; both ends are kept, and how much is missing is told."""
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
    assert second["body"] == cut(long)
    assert second["attributes"]["long"] == cut(long)
    assert list(second["attributes"]["several"]) == ["short", cut(long)]
    trace = failed["attributes"]["exception.stacktrace"]
    assert trace.startswith("Traceback")
    assert trace.endswith(long[-100:] + "\n")
    assert "characters left out" in trace
    assert sent["attributes"]["exception.stacktrace"] == cut(long)
    assert (message["body"], message["attributes"]["text"]) == (cut(long), cut(long))
    for log in telemetry.logs:
        values = [log["body"], *log["attributes"].values()]
        assert all(len(value) < MAX_TEXT + 100 for value in values if isinstance(value, str))
    assert kept.records[1].args == (long,)


def test_whoever_interrupts_a_line_can_log(telemetry: Telemetry, kept: Kept) -> None:
    """A signal's handler may come while the SDK, asked for a logger, holds its locks: it is asked once a name."""
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
def test_the_text_of_an_argument_makes_no_telemetry(telemetry: Telemetry, kept: Kept, template: str) -> None:
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


def test_handlers_see_two_attributes_more_and_nothing_else(telemetry: Telemetry, kept: Kept) -> None:
    """A record is otherwise as the standard library made it."""
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
    expected = ("test_handlers_see_two_attributes_more_and_nothing_else", "test_logging.py")
    assert (record["funcName"], record["filename"]) == expected


def test_pytests_caplog_sees_the_ids(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """It is a handler of the root logger, as the application's own."""
    with caplog.at_level(logging.INFO), brain_otel.start_transaction("work"):
        logging.getLogger("elsewhere").info("captured")
    (record,) = caplog.records
    assert (vars(record)["trace_id"], vars(record)["span_id"]) == span_ids(telemetry)


def test_a_queue_takes_the_ids_along_and_emits_once(telemetry: Telemetry, kept: Kept) -> None:
    """QueueHandler and QueueListener: formatted on another thread, with the ids of where it was logged."""
    waiting: queue.Queue[logging.LogRecord] = queue.Queue()
    logger.handlers = [logging.handlers.QueueHandler(waiting)]
    listener = logging.handlers.QueueListener(waiting, kept)
    listener.start()
    with brain_otel.start_transaction("work"):
        logger.info("queued")
    listener.stop()
    assert kept.ids == [span_ids(telemetry)]
    assert bodies(telemetry) == ["queued"]


def test_a_record_from_elsewhere_keeps_its_ids(telemetry: Telemetry, kept: Kept) -> None:
    """`makeLogRecord` and `Logger.handle`, as those do who take records from a socket."""
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
def test_subclasses_of_logger(telemetry: Telemetry, kind: type[logging.Logger]) -> None:
    """Loggers of the application's own classes have ids on their records, and each is emitted once."""
    own = kind("own")
    own.handlers = [kept := Kept()]
    with brain_otel.start_transaction("work"):
        own.warning("text")
    assert kept.ids == [span_ids(telemetry)]
    assert bodies(telemetry) == ["text"]


def test_a_record_factory_of_the_applications(telemetry: Telemetry, kept: Kept) -> None:
    """What it gives a record counts as the application's own."""
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


def test_a_structured_message(telemetry: Telemetry, kept: Kept) -> None:
    """Structlog hands a dict as the message, and its own things in names with an underscore."""
    logger.info({"event": "paid", "order": 7}, extra={"_logger": logger, "_name": "info"})
    (log,) = telemetry.logs
    assert (log["body"], log["attributes"]) == ("{'event': 'paid', 'order': 7}", {})


def test_a_threads_lines_belong_to_what_it_was_given(telemetry: Telemetry, kept: Kept) -> None:
    """A bare thread has no trace: empty ids, no error."""
    with brain_otel.start_transaction("work"):
        thread = threading.Thread(target=logger.info, args=("bare",))
        thread.start()
        thread.join()
    assert kept.ids == [EMPTY]


@pytest.mark.parametrize(
    "name", ["brain_otel.runtime.guard", "opentelemetry.sdk", "sentry_sdk.errors", "uvicorn.access"]
)
def test_our_own_lines_are_not_emitted(telemetry: Telemetry, name: str) -> None:
    """Nor OpenTelemetry's and sentry-sdk's, which would feed on themselves, nor a line per request."""
    logging.getLogger(name).error("text")
    logging.getLogger(name.replace("_", "")).error("other")
    assert bodies(telemetry) == (["other"] if "_" in name else [])


def test_what_an_exporter_logs_while_it_sends_is_not_emitted(telemetry: Telemetry, kept: Kept) -> None:
    """OpenTelemetry's exporters suppress instrumentation; whatever logger speaks then, its lines have ids only."""
    with suppress_instrumentation():
        logger.info("sending")
    assert bodies(telemetry) == []
    assert kept.ids == [EMPTY]


def test_an_emitting_destination_may_log(telemetry: Telemetry, kept: Kept) -> None:
    """A processor that logs on the application's thread makes a line and no further log record."""

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
def test_contribs_handler_emits_in_our_place(telemetry: Telemetry, kept: Kept, level: int) -> None:
    """Where the application has installed it: what it handles is emitted once, and so is what it does not."""
    contribs = LoggingHandler(level=level)
    logger.addHandler(contribs)
    logger.info("one")
    logger.error("two")
    assert bodies(telemetry) == ["one", "two"]


def test_a_handler_of_another_provider_changes_nothing(telemetry: Telemetry, kept: Kept) -> None:
    """One that emits to a provider of the application's own is no reason not to emit to ours."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.info("text")
    assert bodies(telemetry) == ["text"]
    assert [each.log_record.body for each in exporter.get_finished_logs()] == ["text"]


def test_contribs_instrumentor_after_setup(telemetry: Telemetry) -> None:
    """The application's own call adds a handler to the root logger; a line is emitted once still."""
    LoggingInstrumentor().instrument()
    try:
        logging.getLogger("elsewhere").error("text")
    finally:
        LoggingInstrumentor().uninstrument()
    logging.getLogger("elsewhere").error("then")
    assert bodies(telemetry) == ["text", "then"]


def test_an_errors_line_has_the_id_of_the_event_it_made(telemetry: Telemetry, kept: Kept) -> None:
    """`logger.exception` makes an event in Sentry; its log record says which, and so does the helper."""
    with brain_otel.start_transaction("work"):
        try:
            raise RuntimeError("failed")
        except RuntimeError as error:
            logger.exception("it failed")
            captured = brain_otel.capture_exception(error)
    (event,), (log,) = telemetry.events, telemetry.logs
    assert captured == event["event_id"] == log["attributes"]["sentry.event_id"]
    assert (log["attributes"]["exception.type"], log["attributes"]["exception.message"]) == ("RuntimeError", "failed")


def test_uninstrument_puts_back_what_was_there(telemetry: Telemetry, kept: Kept) -> None:
    """Nothing is emitted any more; the ids stay, for the sake of format strings; it can be installed again."""
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


def test_who_has_wrapped_after_us_stays(telemetry: Telemetry, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another's wrapper around ours is not removed; ours in it does nothing once it is taken out."""
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


def test_a_record_can_be_copied_and_sent(telemetry: Telemetry, kept: Kept) -> None:
    """The ids are plain strings."""
    with brain_otel.start_transaction("work"):
        logger.info("text")
    (record,) = kept.records
    assert type(record.trace_id) is type(record.span_id) is str
    assert vars(copy.copy(record)) == vars(record)
