"""OpenAI's client against a server that speaks its API: what its calls say, and that prompts and answers stay."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.instrumentation.process import Outcome, run_traced
from tests.support import ROOT
from tests.support.otlp import OtlpReceiver
from tests.support.tiers import thorough

SCRIPT = ROOT / "tests" / "apps" / "llm.py"

FILE = """
file_format: "1.1"
propagator: {composite: [{tracecontext: }, {sentry: }]}
tracer_provider:
  processors: [sentry: {}, otlp: {endpoint: "${OTLP}"}]
logger_provider:
  processors: [otlp: {endpoint: "${OTLP}"}]
distribution:
  brain_otel:
    sentry: {dsn: "${SENTRY_DSN}"}
"""

KEY = "sk-proj-" + "Zq8" * 16
TEXTS = {"PROMPT": "the lighthouse on the hill", "ANSWER": "a kettle sings at dawn", "ARGUMENT": "Trollhattan"}

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
EVENTS = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"

CALLS = ("plain", "streamed", "tool", "async")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a process sent to Sentry and by OTLP."""

    outcome: Outcome
    receiver: OtlpReceiver

    @property
    def all_texts(self) -> str:
        otlp = [repr(each) for each in (*self.receiver.spans, *self.receiver.log_records)]
        return json.dumps([self.outcome.transactions, self.outcome.events, otlp], ensure_ascii=False)

    def chat(self, case: str) -> dict[str, Any]:
        """The span of the model in Sentry's transaction ``case``."""
        (span,) = [each for each in self.outcome.spans(case) if each["op"].startswith("gen_ai")]
        return span


def run_script(
    script: Path | str, folder: Path, variables: Mapping[str, str] | None = None, *, launcher: bool = False
) -> Run:
    """Run a program that calls models, with the texts that must not leave."""
    config = folder / "config.yaml"
    config.write_text(FILE)
    with OtlpReceiver() as receiver:
        env = {"OTEL_CONFIG_FILE": str(config), "OTLP": receiver.endpoint, "KEY": KEY, **TEXTS, **(variables or {})}
        return Run(outcome=run_traced(script, env, launcher=launcher), receiver=receiver)


ORDERS = ("setup() before the import", "launcher")


def run_in_order(way: str, script: Path, folder: Path) -> Run:
    """Run a program that calls models in one of `ORDERS`: instead of `setup()` after the import."""
    if way == "launcher":
        return run_script(script, folder, launcher=True)
    run = f"import runpy\nrunpy.run_path({str(script)!r}, run_name='__main__')"
    return run_script(f"import brain_otel\nbrain_otel.setup()\n{run}", folder)


@pytest.fixture(scope="module")
def run_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run the program once for each set of variables."""

    @cache
    def run(*variables: tuple[str, str]) -> Run:
        return run_script(SCRIPT, tmp_path_factory.mktemp("llm"), dict(variables))

    return run


@pytest.mark.parametrize(
    "variables", [(), ((CAPTURE, "true"),), pytest.param(((EVENTS, "true"),), marks=thorough)], ids=str
)
def test_no_prompt_and_no_answer_leaves(run_with: Callable[..., Run], variables: tuple[tuple[str, str], ...]) -> None:
    """Neither in spans, log records, events and breadcrumbs, nor in the local variables of an error.

    `true` was a value of the variable once; today OpenTelemetry warns of it.
    """
    run = run_with(*variables)
    assert len(run.outcome.events) == 3
    assert run.receiver.spans
    assert run.receiver.log_records
    assert "brain_otel failed" not in run.outcome.output
    for text in (*TEXTS.values(), KEY):
        assert text not in run.all_texts


@pytest.mark.parametrize("case", CALLS)
def test_a_call_is_a_span_in_the_words_of_sentry(run_with: Callable[..., Run], case: str) -> None:
    run = run_with()
    span, beside = run.chat(case), [each for each in run.outcome.spans(case) if each["op"] == "http.client"]
    assert [each["parent_span_id"] for each in beside] == [span["span_id"]]
    assert (span["op"], span["description"], span["status"]) == ("gen_ai.chat", "chat gpt-5", "ok")
    data = span["data"]
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.operation.type": "ai_client",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.model": "gpt-5-2026",
        "gen_ai.response.finish_reasons": ["tool_calls" if case == "tool" else "stop"],
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.total_tokens": 18,
    }
    assert {name: data.get(name) for name in expected} == expected


def test_a_call_is_a_span_in_the_words_of_opentelemetry(run_with: Callable[..., Run]) -> None:
    spans = [each for each in run_with().receiver.spans if each.name == "chat gpt-5"]
    assert len(spans) == len(CALLS)
    for span in spans:
        assert (span.kind, span.attributes["gen_ai.provider.name"]) == ("client", "openai")
        assert span.attributes["gen_ai.operation.name"] == "chat"
        tokens = [span.attributes[f"gen_ai.usage.{each}_tokens"] for each in ("input", "output")]
        assert tokens == [11, 7]


@pytest.mark.parametrize(("case", "kind"), [("refused", "AuthenticationError"), ("broken", "InternalServerError")])
def test_an_error_of_the_api_is_one_event_in_its_trace(run_with: Callable[..., Run], case: str, kind: str) -> None:
    run = run_with()
    span = run.chat(case)
    assert span["status"] != "ok"
    (event,) = [each for each in run.outcome.events if each["contexts"]["trace"]["trace_id"] == span["trace_id"]]
    failure = event["exception"]["values"][-1]
    assert failure["type"] == kind
    assert "Incorrect API key provided" in failure["value"]
    assert all("vars" not in frame for frame in failure["stacktrace"]["frames"])


@thorough
@pytest.mark.parametrize("way", ORDERS)
def test_the_order_of_set_up_and_import_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, way: str
) -> None:
    """Spans, parents, errors and texts are those of `setup()` after the import."""
    run = run_in_order(way, SCRIPT, tmp_path_factory.mktemp("llm"))
    for case in CALLS:
        test_a_call_is_a_span_in_the_words_of_sentry(lambda: run, case)
    test_a_call_is_a_span_in_the_words_of_opentelemetry(lambda: run)
    for case, kind in (("refused", "AuthenticationError"), ("broken", "InternalServerError")):
        test_an_error_of_the_api_is_one_event_in_its_trace(lambda: run, case, kind)
    test_no_prompt_and_no_answer_leaves(lambda *_: run, ())


@pytest.mark.parametrize("case", ["plain", "streamed", "tool"])
def test_what_is_asked_for_leaves_masked(run_with: Callable[..., Run], case: str) -> None:
    run = run_with((CAPTURE, "SPAN_ONLY"))
    asked, answered = (run.chat(case)["data"][f"gen_ai.{name}.messages"] for name in ("input", "output"))
    assert TEXTS["PROMPT"] in str(asked)
    assert TEXTS["ARGUMENT" if case == "tool" else "ANSWER"] in str(answered)
    assert KEY not in run.all_texts


def test_events_of_the_content_leave_masked(run_with: Callable[..., Run]) -> None:
    run = run_with((CAPTURE, "SPAN_AND_EVENT"))
    records = [each for each in run.receiver.log_records if "gen_ai.input.messages" in each.attributes]
    assert records
    assert TEXTS["PROMPT"] in repr(records)
    assert KEY not in run.all_texts
