"""Prints each complete local trace on the terminal, as a tree of its spans, errors and messages."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.console.layout import Layout, Line, as_text
from brain_otel.destinations.console.text import clean
from brain_otel.destinations.console.tree import FinishedTrace, ReportedEvent, render
from brain_otel.destinations.destination import Destination
from brain_otel.events.attributes import attribute_value
from brain_otel.events.listeners import EventListener, Failure, Feedback, Message
from brain_otel.privacy import policy
from brain_otel.runtime.guard import guarded
from brain_otel.traces import local_trace
from brain_otel.traces.collector import CollectedTrace, span_count
from brain_otel.traces.local_trace import LocalTrace
from brain_otel.traces.queued_collector import QueuedCollector

MAX_REPORTED = 50
"""Errors and messages in the tree of one local trace; more of them are printed at once, outside of the tree."""

_EXTRAS_KEY = "console"
_ASCII = str.maketrans(
    dict(zip("│├└─━…×✔✘•✉·→", "||`-=~x+!o@.>", strict=True))  # noqa: RUF001 - a multiplication sign is meant
)


class _Reports:
    """Errors, messages and tags of one local trace, until its tree is printed."""

    def __init__(self) -> None:
        self.events: list[ReportedEvent] = []
        self.tags: dict[str, Any] = {}
        self.is_printed = False


def _weight(finished: FinishedTrace) -> int:
    return 0 if finished.collected is None else span_count(finished.collected)


class ConsoleSpanProcessor(QueuedCollector[FinishedTrace]):
    """Calls ``show`` with each complete local trace and the events reported in it, on a thread of its own."""

    def __init__(self, show: Callable[[FinishedTrace], None]) -> None:
        super().__init__(
            "brain_otel.console", lambda finished: self.show(finished), drop=lambda _: None, weigh=_weight
        )
        self.show = show

    def _reset(self) -> None:
        super()._reset()
        self._reports_lock = threading.RLock()  # re-entrant, as the collector's

    def hand_over(self, collected: CollectedTrace) -> None:
        """Queue the local trace to be printed."""
        reports = self._reports_of(collected.trace)
        with self._reports_lock:
            reports.is_printed = True
            events, reports.events = tuple(reports.events), []
            tags = dict(reports.tags)
        self._queue.put(FinishedTrace(collected=collected, events=events, tags=tags))

    def report(self, event: ReportedEvent, trace: LocalTrace | None) -> None:
        """Keep ``event`` for the tree of ``trace``, or print it alone if there will be no tree."""
        if trace is None and event.span is not None and (found := self._by_span.get(event.span.span_id)):
            trace = found.trace  # its root is a plain OpenTelemetry span
        if trace is not None and not (trace.closed and self.collected(trace) is None):
            reports = self._reports_of(trace)
            with self._reports_lock:
                if not reports.is_printed and len(reports.events) < MAX_REPORTED:
                    reports.events.append(event)
                    return
        self._queue.put(FinishedTrace(collected=None, events=(event,)))

    def tag(self, key: str, value: Any, trace: LocalTrace) -> None:
        """Keep a tag for the tree of ``trace``."""
        with self._reports_lock:
            self._reports_of(trace).tags[key] = value

    def leave(self, trace: LocalTrace) -> None:
        """Close ``trace``, whose code has ended. Without spans there is no tree, so its events are printed alone."""
        self.close(trace)
        if self.collected(trace) is not None:
            return
        reports = self._reports_of(trace)
        with self._reports_lock:
            events, reports.events, reports.is_printed = tuple(reports.events), [], True
        if events:
            self._queue.put(FinishedTrace(collected=None, events=events))

    @staticmethod
    def _reports_of(trace: LocalTrace) -> _Reports:
        reports: _Reports = trace.extras.setdefault(_EXTRAS_KEY, _Reports())
        return reports


class ConsoleListener(EventListener):
    """Passes errors, messages and tags on to the tree of their local trace."""

    def __init__(self, processor: ConsoleSpanProcessor) -> None:
        self._processor = processor

    def on_trace_end(self, trace: LocalTrace, token: object) -> None:  # noqa: ARG002
        """Print the events of a local trace that is not recorded."""
        self._processor.leave(trace)

    def on_exception(self, failure: Failure) -> None:
        """Report the error by its text; the exception itself would keep the application's objects alive."""
        name = type(failure.error).__name__
        text = f"{name} (its text could not be read)"
        with guarded("reading an exception's text"):
            text = clean(f"{name}: {policy().text(str(attribute_value(failure.error)))}").removesuffix(":")
        self._report(text, failure.event_id, "handled" if failure.handled else "unhandled", is_error=True)

    def on_message(self, message: Message) -> None:
        """Report the message; from level ``error`` on it counts as an error."""
        self._report(
            clean(policy().text(message.text)),
            message.event_id,
            message.level,
            is_error=message.level in ("error", "fatal"),
        )

    def on_feedback(self, feedback: Feedback) -> None:
        """Report what the user says."""
        self._report(clean(policy().text(feedback.text)), feedback.event_id, "feedback", is_error=False)

    def on_tag(self, key: str, value: Any) -> None:
        """Keep the tag for the tree of the current local trace."""
        trace = local_trace.current()
        if trace is not None:
            self._processor.tag(key, value, trace)

    def _report(self, text: str, event_id: str, kind: str, *, is_error: bool) -> None:
        trace = local_trace.current()
        span = local_trace.current_span_context(trace)
        event = ReportedEvent(text=text, event_id=event_id, kind=kind, is_error=is_error, span=span)
        self._processor.report(event, trace)


def create_destination(options: Options, settings: Settings) -> Destination:  # noqa: ARG001
    """Create the destination that prints to ``stream``: a tree a trace, or one line with ``compact``."""
    compact, stream = _read(options)
    processor = ConsoleSpanProcessor(lambda finished: print_trace(finished, stream, compact=compact))
    return Destination(
        name="console",
        span_processor=processor,
        listener=ConsoleListener(processor),
        flush=processor.flush_within,
        shutdown=lambda timeout: _shut_down(processor, timeout),
        may_block=False,
    )


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The stream, and whether a trace is a line or a tree."""
    compact, stream = _read(options)
    return f"{stream}, one line per trace" if compact else f"{stream}, one tree per trace"


def print_trace(finished: FinishedTrace, stream: str, *, compact: bool = False) -> None:
    """Print one local trace on ``stdout`` or ``stderr``, as wide as the terminal."""
    file = sys.stdout if stream == "stdout" else sys.stderr
    if file is None:  # under pythonw
        return
    lines = render([finished], layout_for(file), compact=compact)
    write(lines if compact else [*lines, []], file)


def layout_for(file: TextIO) -> Layout:
    """The layout for ``file``: as wide as the terminal, or with uncut lines if ``file`` is not a terminal."""
    if not file.isatty():
        return Layout()
    try:
        columns = os.get_terminal_size(file.fileno()).columns
    except OSError:
        columns = 0
    return Layout(width=columns or 80, shorten=True)


def write(lines: Sequence[Line], file: TextIO) -> None:
    """Write ``lines`` at once: in colour on a terminal if rich is installed, else as plain text."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        file.write(encodable("".join(f"{as_text(line)}\n" for line in lines), file))
    else:
        styled = [Text.assemble(*((encodable(text, file), style) for text, style in line)) for line in lines]
        for each in styled:
            each.rstrip()
        Console(file=file, highlight=False).print(Text("\n").join(styled), soft_wrap=True)
    file.flush()


def encodable(text: str, file: TextIO) -> str:
    """``text`` in characters that the encoding of ``file`` has."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


def _read(options: Options) -> tuple[bool, str]:
    compact = options.boolean("compact", False)
    stream = options.choice("stream", ("stdout", "stderr"), "stderr")
    options.reject_others()
    return compact, stream


def _shut_down(processor: ConsoleSpanProcessor, timeout: float) -> None:
    processor.flush_within(timeout)
    processor.shutdown()
