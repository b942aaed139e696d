"""The clients of other libraries answer as without telemetry, whatever arguments and answers are."""

import asyncio
import inspect
import json
from typing import Any

import pytest
import requests
import wrapt
from opentelemetry.util.genai import stream

from brain_otel.instrumentation.others.shielding import shielded_method, shielded_wrappers
from brain_otel.runtime import guard
from tests.instrumentation.process import run_traced
from tests.support import ROOT

SCRIPT = ROOT / "tests" / "apps" / "hostile_clients.py"


def test_odd_arguments_and_answers_end_as_without_telemetry() -> None:
    """In one process before `setup()`, with it and after `shutdown()`; each failure of contrib's is logged once."""
    result = json.loads(run_traced(SCRIPT, {"PYTHONWARNINGS": "ignore"}).output.splitlines()[0])
    assert len(result["asked"]) > 140
    assert result["different"] == {}
    failures = result["failures"]
    assert {"observing openai", "observing a stream", "observing requests", "observing urllib3"} <= {*failures}
    assert len(failures) == len({*failures})


def test_contrib_reads_a_stream_through_this_method() -> None:
    """With a function of no arguments that reads one chunk."""
    for kind in (stream.SyncStreamWrapper, stream.AsyncStreamWrapper):
        assert list(inspect.signature(kind._advance).parameters) == ["self", "read"]
    assert asyncio.iscoroutinefunction(stream.AsyncStreamWrapper._advance)


def test_a_method_that_is_replaced_by_assignment_is_shielded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instrumentor's function fails before the call, after it and in place of it."""
    calls: list[Any] = []

    def send(_: Any, request: Any) -> Any:
        calls.append(request)
        return f"answer to {request}"

    monkeypatch.setattr(requests.Session, "send", send)
    guard.reraise_failures(False)
    with shielded_method("requests"):
        below = requests.Session.send

        def instrumented(self: Any, request: Any) -> Any:
            if request == "before":
                raise RuntimeError(request)
            below(self, request)
            raise RuntimeError(request)

        instrumented.__wrapped__ = below  # type: ignore[attr-defined]
        monkeypatch.setattr(requests.Session, "send", instrumented)
    session: Any = requests.Session()
    assert [session.send("before"), session.send("after")] == ["answer to before", "answer to after"]
    assert calls == ["before", "after"]
    assert requests.Session.send.__wrapped__ is send  # type: ignore[attr-defined]


def test_an_instrumentor_sees_the_name_and_the_signature_of_what_it_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contrib binds the arguments of a call by them, as those of OpenAI's `responses.retrieve`."""
    seen: list[Any] = []

    class Client:
        def get(self, key: str, *, fresh: bool = False) -> str:
            return f"{key} {fresh}"

        async def wait(self, key: str) -> str:
            return key

        @staticmethod
        def close(code: int = 0) -> int:
            return code

    def look(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append((wrapped.__name__, str(inspect.signature(wrapped))))
        return wrapped(*args, **kwargs)

    monkeypatch.setattr(stream, "wrap_function_wrapper", wrapt.wrap_function_wrapper, raising=False)
    with shielded_wrappers("shop"):
        for name in ("get", "wait", "close"):
            stream.wrap_function_wrapper(Client, name, look)  # type: ignore[attr-defined]  # set above
    assert Client().get("a", fresh=True) == "a True"
    assert asyncio.run(Client().wait("b")) == "b"
    assert Client.close(3) == 3
    assert seen == [
        ("get", "(key: str, *, fresh: bool = False) -> str"),
        ("wait", "(key: str) -> str"),
        ("close", "(code: int = 0) -> int"),
    ]
