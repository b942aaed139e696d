"""Tests of the console destination with local traces on a real tracer provider."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Status, StatusCode

from brain_otel import capture
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.options import Options
from brain_otel.destinations.console.destination import ConsoleSpanProcessor, write
from brain_otel.destinations.destination import create_destination
from brain_otel.events.listeners import local_trace_entered
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace
from tests.destinations.service import in_child
from tests.destinations.terminal import MS, SETTINGS, terminal


def indent_of(output: str, text: str) -> int:
    """The column at which the line with ``text`` begins to say something."""
    line = next(line for line in output.splitlines() if text in line)
    return len(line) - len(line.lstrip("│├└─ "))


def test_spans_are_nested_under_their_parents(capsys: pytest.CaptureFixture[str]) -> None:
    """Root, child and grandchild are below each other, each indented further."""
    with terminal(capsys) as console:
        with console.request(), console.tracer.start_as_current_span("load"):
            console.sql("SELECT 1 FROM users")
            with console.tracer.start_as_current_span("inner"):
                pass
        output = console.printed()
    places = [indent_of(output, text) for text in ("GET /users/{user_id}", "function  load", "SELECT ? FROM users")]
    assert places == sorted(set(places))
    assert indent_of(output, "inner") == places[2]


def test_the_header_has_name_op_status_duration_and_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what the request was, how it ended, how long it took and what its trace id is."""
    with terminal(capsys) as console:
        with console.request() as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
        header = console.printed().splitlines()[0]
    assert header.split()[:5] == ["✔", "GET", "/users/{user_id}", "http.server", "200"]
    assert header.split()[6:] == ["ms", "trace", trace_id[:8]]


def test_an_error_is_shown_under_its_span_with_event_and_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """With type, text, event id and trace id. The error is handled, so its span is not marked as failed."""
    with terminal(capsys) as console:
        with console.request(status=500), console.tracer.start_as_current_span("charge") as span:
            event_id = capture.capture_exception(ValueError("no card"))
            trace_id = f"{span.get_span_context().trace_id:032x}"
        output = console.printed()
    assert output.startswith("✘ GET")
    assert "function  charge" in output
    assert f"event {event_id} · trace {trace_id}" in output
    assert indent_of(output, "✘ ValueError: no card  handled") > indent_of(output, "charge")


def test_the_status_description_of_an_unreported_error_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A span with status error says why, although nothing was reported."""
    with terminal(capsys) as console:
        with console.request(), console.tracer.start_as_current_span("call") as span:
            span.set_status(Status(StatusCode.ERROR, "timed out"))
        row = next(line for line in console.printed().splitlines() if "call" in line)
    assert "✘ call  timed out" in row
    assert " error " in row


def test_repeated_statements_are_one_row_and_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """Statements that differ only in their literals are counted; others are not folded."""
    with terminal(capsys) as console:
        with console.request():
            console.sql("SELECT id FROM users", start=0)
            for number in range(1, 6):
                console.sql(f"SELECT * FROM pets WHERE owner = {number}", start=number * 10 * MS, milliseconds=2)
        output = console.printed()
    assert "N+1" in output.splitlines()[0]
    assert "6 SQL" in output.splitlines()[0]
    row = next(line for line in output.splitlines() if "FROM pets" in line)
    assert "5× SELECT" in row  # noqa: RUF001
    assert "10.0 ms" in row
    assert output.count("FROM pets") == 1


def test_two_equal_statements_are_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    """A statement that runs twice is shown twice, without `N+1`."""
    with terminal(capsys) as console:
        with console.request():
            console.sql("SELECT 1 FROM users")
            console.sql("SELECT 1 FROM users")
        output = console.printed()
    assert "N+1" not in output
    assert output.count("FROM users") == 2


def test_compact_prints_one_line_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """With `compact` only the header is printed, with the number of errors."""
    with terminal(capsys, {"compact": True}) as console:
        for _ in range(2):
            with console.request():
                console.sql("SELECT 1")
                capture.capture_exception(ValueError("x"))
        lines = console.printed().splitlines()
    assert len(lines) == 2
    assert all("1 error" in line and "1 SQL" in line for line in lines)


def test_messages_breadcrumbs_tags_and_user_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The tree of a request has them all; a tag with a sensitive name is masked."""
    with terminal(capsys) as console:
        with console.request():
            capture.set_user_context(user_id="u1")
            capture.set_tag("plan", "gold")
            capture.set_tag("api_key", "hunter2")
            capture.add_breadcrumb("Validating", category="validation")
            capture.capture_message("Unusual activity", level="warning")
        output = console.printed()
    assert "user u1 · plan=gold · api_key=[Filtered]" in output
    assert "· validation: Validating" in output
    assert "✉ Unusual activity  warning" in output
    assert "hunter2" not in output


def test_an_error_outside_of_any_trace_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """With the words that it has no trace."""
    with terminal(capsys) as console:
        event_id = capture.capture_exception(KeyError("lost"))
        output = console.printed()
    assert "✘ KeyError: 'lost'" in output
    assert f"event {event_id} · no trace" in output


def test_an_error_in_an_unsampled_trace_is_printed_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """The trace has no tree, but it has ids."""
    with terminal(capsys, sampler=ALWAYS_OFF) as console:
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            span = console.tracer.start_span("GET")
            trace.start(span, None)
            with otel_trace.use_span(span):
                capture.capture_exception(ValueError("unsampled"))
        output = console.printed()
    assert f"trace {span.get_span_context().trace_id:032x}" in output
    assert output.count("unsampled") == 1


def test_an_error_after_the_end_of_its_trace_is_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """The tree has been printed already; the late error has the same trace id."""
    with terminal(capsys) as console:
        with console.request() as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
            trace = local_trace.current()
        assert trace is not None
        console.printed()
        entered = local_trace.enter(trace)
        capture.capture_exception(ValueError("late"))
        local_trace.leave(trace, entered)
        output = console.printed()
    assert output.startswith("✘ ValueError: late")
    assert trace_id in output


def test_a_child_forked_while_another_thread_reports_can_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The child does not have the thread that holds the lock."""
    with terminal(capsys) as console:
        processor = console.destination.span_processor
        assert isinstance(processor, ConsoleSpanProcessor)
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with processor._reports_lock:
                held.set()
                done.wait(10)

        def work() -> str:
            signal.alarm(3)  # ends a child that hangs
            capture.set_tag("mission", "m1")
            capture.capture_message("from the child")
            return "reported"

        thread = threading.Thread(target=hold)
        with console.request():
            thread.start()
            assert held.wait(5)
            answer = in_child(work)
            done.set()
            thread.join()
    assert answer == "reported"


def test_an_error_in_a_plain_opentelemetry_root_is_in_its_tree(capsys: pytest.CaptureFixture[str]) -> None:
    """A root span that OpenTelemetry's tracer started is a local trace too."""
    with terminal(capsys) as console:
        with console.tracer.start_as_current_span("script"):
            capture.capture_exception(ValueError("in a script"))
        output = console.printed()
    assert output.startswith("✘ script")
    assert indent_of(output, "in a script") > 0


def test_errors_are_shown_beyond_the_limit_of_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows beyond the limit are counted instead of shown; errors are always shown."""
    with terminal(capsys) as console:
        with console.request():
            for number in range(300):
                with console.tracer.start_as_current_span(f"step {chr(97 + number % 26)}{number}"):
                    pass
            capture.capture_exception(ValueError("at the end"))
        output = console.printed()
    assert "ValueError: at the end" in output
    assert "… 100 more spans" in output


def test_deep_nesting_is_rendered(capsys: pytest.CaptureFixture[str]) -> None:
    """900 spans, each within the one before."""
    with terminal(capsys) as console:
        with console.request():
            open_spans = []
            for number in range(900):
                manager = console.tracer.start_as_current_span(f"level-{number}")
                manager.__enter__()
                open_spans.append(manager)
            for manager in reversed(open_spans):
                manager.__exit__(None, None, None)
        output = console.printed()
    assert "level-100" in output
    assert max(len(line) for line in output.splitlines()) < 200


def test_piped_output_is_plain_and_uncut(capsys: pytest.CaptureFixture[str]) -> None:
    """Without escape sequences, and a long statement is not cut off."""
    statement = "SELECT " + ", ".join(f"column_{number}" for number in range(60)) + " FROM users"
    with terminal(capsys) as console:
        with console.request():
            console.sql(statement)
        output = console.printed()
    assert "\x1b" not in output
    assert statement in output


def test_an_encoding_without_line_drawing_gets_ascii() -> None:
    """On a terminal without Unicode the tree is drawn in ASCII."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    write([[("├─ ", "dim"), ("db ✘ naïve", "red")]], file)
    file.flush()
    assert raw.getvalue().decode("ascii") == "|- db ! na?ve\n"


def test_without_rich_the_text_is_the_same() -> None:
    """Without the extra `cli` the same tree is printed, without colour."""
    code = (
        "import sys; sys.modules['rich'] = sys.modules['rich.console'] = sys.modules['rich.text'] = None\n"
        "from brain_otel.destinations.console.destination import write\n"
        "write([[('├─ ', 'dim'), ('db', 'red')], []], sys.stdout)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, encoding="utf-8")
    assert result.stdout == "├─ db\n\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"colour": True}, "console.colour is True; allowed: the keys compact, stream"),
        ({"compact": "very"}, "console.compact is 'very'; allowed: true, yes, on, 1, false, no, off, 0"),
        ({"stream": "stdin"}, "console.stream is 'stdin'; allowed: stdout, stderr"),
    ],
)
def test_a_bad_option_is_named_with_the_allowed_values(options: dict[str, Any], named: str) -> None:
    """The error names the file, the key, the value and the choices."""
    with pytest.raises(ConfigurationError) as raised:
        create_destination(Options(options, name="console", place="development.yaml: console"), SETTINGS)
    assert str(raised.value).startswith("development.yaml: ")
    assert named in str(raised.value)


def test_the_stream_can_be_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """The default is stderr, since stdout belongs to the application."""
    with terminal(capsys, {"stream": "stdout"}) as console:
        with console.request():
            pass
        assert console.destination.flush(5.0)
        captured = capsys.readouterr()
    assert captured.out.startswith("✔ GET")
    assert captured.err == ""


JWT = "eyJhbGciOiJIUzI1NiJ9.\neyJzdWIiOiJ6cTQyIn0.\nzq5m_dDVNmnXsXmTqMW8uYIm7"
BY_LINES = {
    "yaml": "database:\n  password: |\n    zqhunter2\n    zqhunter3\n  host: db",
    "table": "user,password,town\nanna,zqhunter2,Bern\n",
    "broken token": f"got {JWT} from upstream",
    "headers": "GET / HTTP/1.1\r\nCookie: theme=dark; last=zqhunter2\r\nHost: shop",
    "key": "-----BEGIN PRIVATE KEY-----\nzqMIIEvQIBADANBg\n-----END PRIVATE KEY-----",
}


@pytest.mark.parametrize("text", BY_LINES.values(), ids=BY_LINES)
def test_a_text_is_masked_before_it_becomes_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Some secrets are known by the lines of a text: of a message, an error, a status, a tag or a breadcrumb."""
    with terminal(capsys) as console:
        with console.request(), console.tracer.start_as_current_span("work") as span:
            capture.capture_message(text)
            capture.capture_exception(ValueError(text))
            capture.add_breadcrumb(text)
            capture.set_tag("note", text)
            span.set_status(Status(StatusCode.ERROR, text))
        output = console.printed()
    assert "zq" not in output
    assert output.count("[Filtered]") >= 4


def test_keys_of_tags_and_ids_of_users_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    """An application may tag by anything."""
    with terminal(capsys) as console:
        with console.request():
            capture.set_tag("token=zqhunter2", "1")
            capture.set_user_context(user_id="https://app:zqhunter2@shop.test/")
        output = console.printed()
    assert "zq" not in output
    assert "user https://[Filtered]@shop.test/" in output
