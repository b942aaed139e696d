"""The clients of other libraries answer as without telemetry, whatever arguments and answers are."""

import asyncio
import inspect
import json
import sys
from types import ModuleType
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


def test_another_thread_may_import_a_module_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    class Name(str):
        """A module's name; whoever looks at it is interrupted by an import."""

        __slots__ = ()

        def startswith(self, *_: Any) -> bool:
            sys.modules["imported meanwhile"] = module
            return False

    module = ModuleType("looked at")
    monkeypatch.delitem(sys.modules, "imported meanwhile", raising=False)
    monkeypatch.setitem(sys.modules, Name("looked at"), module)
    with shielded_wrappers("shop"):
        assert sys.modules.pop("imported meanwhile") is module


AWS = """
import json, os, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import unquote_plus

bodies = []

class Answer(BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append(unquote_plus(self.rfile.read(int(self.headers["content-length"])).decode()))
        self.send_response(400)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()

import brain_otel
brain_otel.setup()
import boto3

given = dict(region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
address = f"http://127.0.0.1:{server.server_port}"
sns, sqs = [boto3.client(name, endpoint_url=address, **given) for name in ("sns", "sqs")]
topic, queue = "arn:aws:sns:eu-west-1:1:orders", f"{address}/orders"
ours = {"a": {"DataType": "String", "StringValue": "b"}}
entry = {"Id": "1", "MessageAttributes": ours}
calls = {
    "publish": lambda: sns.publish(TopicArn=topic, Message="x", MessageAttributes=ours),
    "batch": lambda: sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{**entry, "Message": "x"}]),
    "send": lambda: sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=ours),
    "send batch": lambda: sqs.send_message_batch(QueueUrl=queue, Entries=[{**entry, "MessageBody": "x"}]),
    "none": lambda: sns.publish(TopicArn=topic, Message="x", MessageAttributes=None),
}
outcomes = {}
for name, call in calls.items():
    before = len(bodies)
    with brain_otel.start_transaction(name):
        try:
            call()
        except Exception as error:
            sent = bodies[before:]
            is_rejected = type(error).__name__ == "ParamValidationError"
            outcomes[name] = is_rejected, any("traceparent" in body for body in sent), sorted(ours)
print(json.dumps(outcomes), flush=True)
os._exit(0)
"""


def test_a_message_of_aws_stays_the_applications() -> None:
    """It is sent with trace headers, in a copy; what AWS's client rejects without telemetry, it rejects with it."""
    outcomes = json.loads(run_traced(AWS, {"PYTHONWARNINGS": "ignore"}).output.splitlines()[-1])
    with_headers = [False, True, ["a"]]
    assert outcomes == {
        "publish": with_headers,
        "batch": with_headers,
        **{key: [False, False, ["a"]] for key in ("send", "send batch")},  # contrib adds none to SQS
        "none": [True, False, ["a"]],
    }
