"""The console: each local trace as a tree on the terminal, once it is complete, with its errors and messages."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from brain_otel.destinations.console.text import Layout, Line, as_text, clean
from brain_otel.destinations.console.tree import FinishedTrace, ReportedEvent, render
from brain_otel.destinations.destination import Destination
from brain_otel.events.listeners import EventListener
from brain_otel.runtime.guard import guarded
from brain_otel.traces import local_trace
from brain_otel.traces.collector import CollectedTrace, span_count
from brain_otel.traces.queued_collector import QueuedCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from brain_otel.configuration.options import Options
    from brain_otel.configuration.settings import Settings
    from brain_otel.events.listeners import Failure, Message
    from brain_otel.traces.local_trace import LocalTrace

MAX_NOTES = 50
"""Errors and messages kept for one local trace; what is beyond is printed at once, alone."""

_EXTRAS_KEY = "console"
_ASCII = str.maketrans(
    dict(zip("│├└─━…×✔✘•✉·", "||`-=~x+!o@.", strict=True))  # noqa: RUF001 - a multiplication sign is meant
)


class _Heard:
    """What was reported in one local trace so far."""

    def __init__(self) -> None:
        self.notes: list[ReportedEvent] = []
        self.tags: dict[str, Any] = {}
        self.taken = False


def _weight(finished: FinishedTrace) -> int:
    return 0 if finished.collected is None else span_count(finished.collected)


class ConsoleSpanProcessor(QueuedCollector[FinishedTrace]):
    """Hands each complete local trace, with what was reported in it, to ``show`` on a thread of its own."""

    def __init__(self, show: Callable[[FinishedTrace], None]) -> None:
        super().__init__(
            "brain_otel.console", lambda finished: self.show(finished), drop=lambda _: None, weigh=_weight
        )
        self.show = show

    def _reset(self) -> None:
        super()._reset()
        self._hearing = threading.RLock()  # as the collector's

    def hand_over(self, collected: CollectedTrace) -> None:
        """Queue the local trace to be printed."""
        heard = self._heard(collected.trace)
        with self._hearing:
            heard.taken = True
            finished = FinishedTrace(collected=collected, notes=tuple(heard.notes), tags=dict(heard.tags))
            heard.notes.clear()
        self._queue.put(finished)

    def note(self, note: ReportedEvent, trace: LocalTrace | None) -> None:
        """Keep ``note`` for the tree of ``trace``, or have it printed alone if there is none to come."""
        if trace is None and note.span is not None and (found := self._by_span.get(note.span.span_id)):
            trace = found.trace  # of a root span that nobody announced
        if trace is not None and not (trace.closed and self.collected(trace) is None):
            heard = self._heard(trace)
            with self._hearing:
                if not heard.taken and len(heard.notes) < MAX_NOTES:
                    heard.notes.append(note)
                    return
        self._queue.put(FinishedTrace(collected=None, notes=(note,)))

    def tag(self, key: str, value: Any, trace: LocalTrace) -> None:
        """Keep a tag for the tree of ``trace``."""
        with self._hearing:
            self._heard(trace).tags[key] = value

    def leave(self, trace: LocalTrace) -> None:
        """The code that opened ``trace`` has left it; one that was not recorded shows its notes alone."""
        self.close(trace)
        if self.collected(trace) is not None:
            return
        heard = self._heard(trace)
        with self._hearing:
            notes, heard.notes, heard.taken = tuple(heard.notes), [], True
        if notes:
            self._queue.put(FinishedTrace(collected=None, notes=notes))

    @staticmethod
    def _heard(trace: LocalTrace) -> _Heard:
        heard: _Heard = trace.extras.setdefault(_EXTRAS_KEY, _Heard())
        return heard


class ConsoleListener(EventListener):
    """Remembers errors, messages and tags for the tree of their local trace."""

    def __init__(self, processor: ConsoleSpanProcessor) -> None:
        self._processor = processor

    def on_trace_end(self, trace: LocalTrace, token: object) -> None:  # noqa: ARG002
        """The local trace is left."""
        self._processor.leave(trace)

    def on_exception(self, failure: Failure) -> None:
        """Note the error without keeping it: its frames hold the application's objects."""
        name = type(failure.error).__name__
        text = f"{name} (its text could not be read)"
        with guarded("reading an exception's text"):
            text = clean(f"{name}: {failure.error}").removesuffix(":")
        self._note(text, failure.event_id, "handled" if failure.handled else "unhandled", is_error=True)

    def on_message(self, message: Message) -> None:
        """Note the message; from level ``error`` on it counts as an error."""
        self._note(clean(message.text), message.event_id, message.level, is_error=message.level in ("error", "fatal"))

    def on_tag(self, key: str, value: Any) -> None:
        """Note the tag."""
        trace = local_trace.current()
        if trace is not None:
            self._processor.tag(key, value, trace)

    def _note(self, text: str, event_id: str, kind: str, *, is_error: bool) -> None:
        trace = local_trace.current()
        span = local_trace.current_span_context(trace)
        note = ReportedEvent(text=text, event_id=event_id, kind=kind, is_error=is_error, span=span)
        self._processor.note(note, trace)


def create_destination(options: Options, settings: Settings) -> Destination:  # noqa: ARG001
    """Print to stderr, or what the option ``stream`` says; one line a trace with ``compact``.

    Raises:
        ConfigurationError: an option is unknown or has a value that is not allowed.
    """
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
    """The stream and the form."""
    compact, stream = _read(options)
    return f"{stream}, one line per trace" if compact else f"{stream}, one tree per trace"


def print_trace(finished: FinishedTrace, stream: str, *, compact: bool = False) -> None:
    """Print one local trace on ``stdout`` or ``stderr``, as wide as the terminal is."""
    file = sys.stdout if stream == "stdout" else sys.stderr
    if file is None:  # as under pythonw
        return
    lines = render([finished], layout_for(file), compact=compact)
    write(lines if compact else [*lines, []], file)


def layout_for(file: TextIO) -> Layout:
    """As wide as the terminal; where there is none nothing is cut off."""
    if not file.isatty():
        return Layout()
    try:
        columns = os.get_terminal_size(file.fileno()).columns
    except OSError:
        columns = 0
    return Layout(width=columns or 80, shorten=True)


def write(lines: Sequence[Line], file: TextIO) -> None:
    """Write ``lines`` in one go: in colour on a terminal if rich is installed, else as plain text."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        file.write(_writable("".join(f"{as_text(line)}\n" for line in lines), file))
    else:
        styled = [Text.assemble(*((_writable(text, file), style) for text, style in line)) for line in lines]
        for each in styled:
            each.rstrip()
        Console(file=file, highlight=False).print(Text("\n").join(styled), soft_wrap=True)
    file.flush()


def _writable(text: str, file: TextIO) -> str:
    """``text`` as the encoding of ``file`` allows."""
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
