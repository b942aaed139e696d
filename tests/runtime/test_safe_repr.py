"""Tests of objects that cannot be written out: they hold nothing up, and what is told of them is their class."""

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from brain_otel.events.attributes import attribute_value
from brain_otel.privacy import Policy
from brain_otel.runtime import safe_repr as module
from brain_otel.runtime.safe_repr import safe_repr
from tests.instrumentation.process import run_traced

RELEASE = threading.Event()
HERE = __name__


@pytest.fixture(autouse=True)
def _blocked_threads_end() -> Iterator[None]:
    RELEASE.clear()
    yield
    RELEASE.set()
    wait_for_calls()


def wait_for_calls() -> None:
    """Wait until no call is running."""
    while module._representer._deadlines:
        time.sleep(0.001)


def create_blocking() -> Any:
    """An object of a class of its own, whose `repr` waits for ever."""

    class Blocking:
        def __repr__(self) -> str:
            RELEASE.wait()
            return "at last"

    return Blocking()


class Raising:
    def __repr__(self) -> str:
        raise SystemExit("repr")


class Lying:
    def __repr__(self) -> Any:
        return 7


class Speaking:
    def __str__(self) -> str:
        return threading.current_thread().name + " says hello"


def test_what_answers_is_shown_as_it_is() -> None:
    """On a thread of its own if it is Python code; what is the interpreter's is asked at once."""
    assert safe_repr({"a": [1, "b"]}) == "{'a': [1, 'b']}"
    assert safe_repr(Speaking(), str).endswith(" says hello")
    assert safe_repr(Speaking(), str) != str(Speaking())
    assert safe_repr(range(3)) == "range(0, 3)"
    assert safe_repr(object()).startswith("<object object at")


@pytest.mark.parametrize("kind", [Raising, Lying])
def test_what_fails_is_shown_by_its_class(kind: type) -> None:
    """Whatever it raises."""
    assert safe_repr(kind()) == f"<{HERE}.{kind.__name__}>"
    assert str(attribute_value(kind())).startswith("<")


def test_what_does_not_answer_is_asked_once() -> None:
    """And no more than so many threads hang."""
    blocking = create_blocking()
    name = f"<{HERE}.create_blocking.<locals>.Blocking>"
    assert [safe_repr(blocking) for _ in range(50)] == [name] * 50
    assert len(module._representer._deadlines) == 1
    others = [create_blocking() for _ in range(20)]
    assert [safe_repr(each) for each in others] == [name] * 20
    assert len(module._representer._deadlines) == module.MAX_HANGING
    assert safe_repr(Speaking(), str) == f"<{HERE}.Speaking>"
    RELEASE.set()
    wait_for_calls()
    assert safe_repr(Speaking(), str).endswith(" says hello")


def test_many_threads_ask_at_once() -> None:
    """One that is held up holds no other up, and nothing is kept of what was written out."""

    class Kept:
        def __repr__(self) -> str:
            return "kept"

    kept = Kept()
    alive = weakref.ref(kept)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(safe_repr, create_blocking() if number % 4 == 0 else kept) for number in range(8)]
    assert [each.result() for each in asked].count("kept") == 6
    del kept, asked
    gc.collect()
    assert alive() is None


def test_a_forked_child_asks_on_a_thread_of_its_own() -> None:
    """The parent's thread is not there."""
    assert safe_repr(Speaking(), str).endswith(" says hello")
    child = os.fork()
    if child == 0:
        os._exit(0 if safe_repr(Speaking(), str).endswith(" says hello") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_holds_in_attributes_and_names() -> None:
    """Within containers, and as a name in a mapping."""
    assert attribute_value([create_blocking()]) == "<builtins.list>"
    masked = Policy().value({create_blocking(): "x", "password": "hunter2"})
    assert list(masked.values()) == ["x", "[Filtered]"]


APPLICATION = """
import threading
import brain_otel

brain_otel.setup()

class Blocking:
    def __repr__(self):
        threading.Event().wait()

class Raising:
    def __repr__(self):
        raise RuntimeError("repr")

class Quick:
    def __repr__(self):
        return "quick password=hunter2"

def fail(one, other, third, password="hunter2"):
    more = {"inner": one}
    raise ValueError("failed")

with brain_otel.start_transaction("work", given=Blocking()):
    brain_otel.set_context("facts", {"it": Blocking(), "that": 1})
    brain_otel.add_breadcrumb("step", data={"it": Raising()})
    try:
        fail(Blocking(), Raising(), Quick())
    except ValueError as error:
        brain_otel.capture_exception(error, thing=Blocking())
"""


def test_an_error_among_such_objects_arrives() -> None:
    """With the other variables of its frames."""
    outcome = run_traced(APPLICATION)
    (event,) = outcome.events
    (frame,) = [
        each for each in event["exception"]["values"][0]["stacktrace"]["frames"] if each["function"] == "fail"
    ]
    assert frame["vars"] == {
        "one": "<__main__.Blocking>",
        "other": "<__main__.Raising>",
        "third": "quick password=[Filtered]",
        "password": "[Filtered]",
        "more": {"inner": "<__main__.Blocking>"},
    }
    assert event["contexts"]["facts"] == {"it": "<__main__.Blocking>", "that": 1}
    assert outcome.names == ["work"]
