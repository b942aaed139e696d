"""Tests of the time that the application's code may take for one event, however it is called."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import brain_otel
from brain_otel.runtime import quiet
from brain_otel.runtime.quiet import one_clock
from brain_otel.runtime.safe_repr import safe_repr
from brain_otel.testing import Telemetry
from tests.events.test_arguments import HELPERS

LIMIT = 0.1
"""Seconds of an event: ten times as many as in use, since another process may take the processor for some ms."""

SECONDS = LIMIT / 2
"""One call takes half of the time of an event: two calls use it up, and the last may begin just before."""

MOST_CALLS = 3
LOGGER = logging.getLogger("tests.quiet")
slow: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "MAX_SECONDS", LIMIT)


def wait() -> None:
    slow["calls"] += 1
    time.sleep(SECONDS)


class SlowText:
    def __repr__(self) -> str:
        wait()
        return "slow"


class SlowError(Exception):
    def __str__(self) -> str:
        wait()
        return f"slow {self.args[0]}"


class SlowItems(Mapping[str, int]):
    def __iter__(self) -> Iterator[str]:
        for number in range(50):
            wait()
            yield str(number)

    def __getitem__(self, key: str) -> int:
        return int(key)

    def __len__(self) -> int:
        wait()
        return 50


class SlowLength(SlowItems):
    def __iter__(self) -> Iterator[str]:
        return iter(["a"])


class SlowTruth:
    def __bool__(self) -> bool:
        wait()
        return True

    def __eq__(self, other: object) -> bool:
        wait()
        return False

    def __hash__(self) -> int:
        wait()
        return 1


class SlowString(str):
    def __len__(self) -> int:
        wait()
        return 3

    def __str__(self) -> str:
        wait()
        return "slow"


class SlowNumber(int):
    def __repr__(self) -> str:
        wait()
        return "slow"


class SlowIterator:
    def __iter__(self) -> Iterator[Any]:
        wait()
        return self

    def __next__(self) -> Any:
        wait()
        return ("baggage", "a=b")


OBJECTS: dict[str, Callable[[], Any]] = {
    "texts": lambda: [SlowText() for _ in range(50)],
    "error": lambda: SlowError(1),
    "errors": lambda: ExceptionGroup("group", [SlowError(number) for number in range(40)]),
    "items": SlowItems,
    "keys": lambda: SlowItems().keys(),
    "length": SlowLength,
    "truth": SlowTruth,
    "string": lambda: SlowString("a"),
    "numbers": lambda: [SlowNumber() for _ in range(50)],
    "iterator": SlowIterator,
}


def capture_local(value: Any) -> None:
    try:
        local = value  # noqa: F841 - a variable of this frame
        raise ValueError("a")
    except ValueError:
        LOGGER.exception("b", extra={"value": value})


def capture_raised(value: Any) -> None:
    """The exception passes a span, is logged and captured, each of which is a report of its own."""
    if isinstance(value, BaseException):
        brain_otel.capture_exception(value)


def log(message: Any, args: Any) -> None:
    LOGGER.handle(LOGGER.makeRecord("shop", logging.WARNING, __file__, 1, message, args, None))


def continued(headers: Any) -> None:
    with brain_otel.continue_trace(headers):
        pass


WAYS: dict[str, Callable[[Any], object]] = {
    **HELPERS,
    "local variable": capture_local,
    "raised": capture_raised,
    "argument of a log line": lambda value: log("%s %r", (value, [value])),
    "log line": lambda value: log(value, ()),
    "feedback": lambda value: brain_otel.capture_feedback(value, name=value),
    "measurement": lambda value: brain_otel.measurement(value, 1, value),
    "measured": lambda value: brain_otel.measurement("a", value),
    "headers": continued,
    "header": lambda value: continued({"baggage": value, "sentry-trace": value}),
}

QUICK = ("local variable", "raised", "argument of a log line", "header", "name of a tag")


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=() if way in QUICK else pytest.mark.thorough) for way in WAYS]
)
def test_slow_objects_share_the_time_of_an_event(
    way: str, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of one call: an event, a log record, a breadcrumb and attributes of a span."""
    monkeypatch.setattr(LOGGER, "propagate", False)  # pytest's handlers write each record
    monkeypatch.setattr(LOGGER, "handlers", [logging.NullHandler()])
    calls = {}
    with brain_otel.start_transaction("t"):
        for name, make in OBJECTS.items():
            value = make()
            slow.clear()
            WAYS[way](value)
            calls[name] = slow["calls"]
    assert {name: count for name, count in calls.items() if count > MOST_CALLS} == {}


def test_a_slow_text_is_made_once_and_a_fast_one_each_time() -> None:
    """The second event has a time of its own."""
    slow.clear()
    value = SlowText()
    with one_clock():
        assert (safe_repr(value), safe_repr(value)) == ("slow", "slow")
    assert slow["calls"] == 1
    assert safe_repr(value) == "slow"


def test_the_traceback_of_slow_errors_names_each(telemetry: Telemetry) -> None:
    """By its text while there is time, and by its class after that."""
    brain_otel.capture_exception(ExceptionGroup("group", [SlowError(number) for number in range(10)]))
    stacktrace = telemetry.logs[0]["attributes"]["exception.stacktrace"]
    assert stacktrace.count("SlowError: ") == 10
    assert "SlowError: slow 0" in stacktrace
    assert f"SlowError: <{__name__}.SlowError>" in stacktrace
    values = telemetry.events[0]["exception"]["values"]
    assert sorted({each["value"] for each in values})[0] == f"<{__name__}.SlowError>"
