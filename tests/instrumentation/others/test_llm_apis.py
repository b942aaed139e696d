"""OpenAI's responses and embeddings and Anthropic's messages, against a server: what the calls say."""

import json
from typing import Any

import pytest

from tests.instrumentation.others.test_llm import CAPTURE, EVENTS, KEY, ORDERS, TEXTS, Run, run_in_order, run_script
from tests.support import ROOT
from tests.support.tiers import thorough

SCRIPT = ROOT / "tests" / "apps" / "llm_apis.py"

CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.operation.type": "ai_client",
    "gen_ai.usage.input_tokens": 11,
    "gen_ai.usage.output_tokens": 7,
    "gen_ai.usage.total_tokens": 18,
}
GPT = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5", "gen_ai.response.model": "gpt-5-2026"}
CLAUDE = {
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-5",
    "gen_ai.response.model": "claude-5-2026",
}
RESPONSE = {
    **CHAT,
    **GPT,
    "gen_ai.response.id": "resp_1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.cache_read.input_tokens": 4,
    "gen_ai.usage.reasoning.output_tokens": 2,
}
MESSAGE = {**CHAT, **CLAUDE, "gen_ai.response.id": "msg_1", "gen_ai.response.finish_reasons": ["stop"]}
EMBEDDED = {
    "gen_ai.operation.name": "embeddings",
    "gen_ai.operation.type": "ai_client",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "ada-5",
    "gen_ai.embeddings.dimension.count": 3,
    "gen_ai.usage.input_tokens": 5,
}
STREAMED = {"gen_ai.request.stream": True}

CALLS: dict[str, dict[str, Any]] = {
    "responses": RESPONSE,
    "responses streamed": {**RESPONSE, **STREAMED},
    "responses in a block": {**RESPONSE, **STREAMED},
    "responses with a tool": {**RESPONSE, "gen_ai.response.finish_reasons": ["tool_calls"]},
    "responses async": {**RESPONSE, **STREAMED},
    "embeddings": EMBEDDED,
    "embeddings async": EMBEDDED,
    "messages": MESSAGE,
    "messages streamed": {**MESSAGE, **STREAMED},
    "messages in a block": {**MESSAGE, **STREAMED},
    "messages with a tool": {**MESSAGE, "gen_ai.response.finish_reasons": ["tool_call"]},
    "messages async": {**MESSAGE, **STREAMED},
}

FAILURES = {
    "responses refused": ("gen_ai.chat", "AuthenticationError"),
    "responses refused in a stream": ("gen_ai.chat", "AuthenticationError"),
    "embeddings broken": ("gen_ai.embeddings", "InternalServerError"),
    "messages refused": ("gen_ai.chat", "AuthenticationError"),
    "messages broken in a stream": ("gen_ai.chat", "InternalServerError"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The program, without a word on prompts and answers."""
    return run_script(SCRIPT, tmp_path_factory.mktemp("llm"))


@pytest.mark.parametrize("case", CALLS)
def test_a_call_is_one_span_in_the_words_of_sentry(run: Run, case: str) -> None:
    """One beside the request's, which is its child: Anthropic's client makes none of its own there."""
    span, others = run.chat(case), [each for each in run.outcome.spans(case) if each["op"] == "http.client"]
    expected = CALLS[case]
    operation = expected["gen_ai.operation.name"]
    assert [each["parent_span_id"] for each in others] == [span["span_id"]]
    assert len(run.outcome.spans(case)) == 2
    assert (span["op"], span["status"]) == (f"gen_ai.{operation}", "ok")
    assert span["description"] == f"{operation} {expected['gen_ai.request.model']}"
    assert {name: span["data"].get(name) for name in expected} == expected


def test_requests_carry_the_trace_of_their_span(run: Run) -> None:
    (printed,) = [each for each in run.outcome.output.splitlines() if each.startswith("[")]
    sent = [span for each in run.outcome.transactions for span in each["spans"] if span["op"] == "http.client"]
    assert sorted(json.loads(printed)) == sorted(f"00-{each['trace_id']}-{each['span_id']}-03" for each in sent)


@thorough
@pytest.mark.parametrize("way", ORDERS)
def test_the_order_of_set_up_and_import_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, way: str
) -> None:
    """Spans, parents, headers and texts are those of `setup()` after the import."""
    run = run_in_order(way, SCRIPT, tmp_path_factory.mktemp("llm"))
    for case in CALLS:
        test_a_call_is_one_span_in_the_words_of_sentry(run, case)
    for case in FAILURES:
        test_an_error_of_the_api_is_a_failed_span_and_one_event_of_its_trace(run, case)
    test_requests_carry_the_trace_of_their_span(run)
    test_no_prompt_and_no_answer_leaves(run)


def test_a_stored_response_that_is_read_again_is_a_span_without_tokens(run: Run) -> None:
    """Its id is found by the signature of the client's method."""
    span = run.chat("responses again")
    assert (span["op"], span["status"], span["description"]) == ("gen_ai.fetch_response", "ok", "fetch_response")
    assert (span["data"]["gen_ai.response.id"], span["data"]["gen_ai.response.model"]) == ("resp_1", "gpt-5-2026")
    assert not any("tokens" in name for name in span["data"])


def test_the_calls_are_spans_in_the_words_of_opentelemetry(run: Run) -> None:
    spans = [each for each in run.receiver.spans if "gen_ai.request.model" in each.attributes]
    assert len(spans) == len(CALLS) + len(FAILURES)
    for span in spans:
        assert span.kind == "client"
        assert span.name == f"{span.attributes['gen_ai.operation.name']} {span.attributes['gen_ai.request.model']}"
        assert "gen_ai.usage.total_tokens" not in span.attributes


@pytest.mark.parametrize("case", FAILURES)
def test_an_error_of_the_api_is_a_failed_span_and_one_event_of_its_trace(run: Run, case: str) -> None:
    op, kind = FAILURES[case]
    span = run.chat(case)
    assert (span["op"], span["status"]) == (op, "internal_error")
    assert span["data"]["error.type"].endswith(f".{kind}")
    (event,) = [each for each in run.outcome.events if each["contexts"]["trace"]["trace_id"] == span["trace_id"]]
    failure = event["exception"]["values"][-1]
    assert failure["type"] == kind
    assert all("vars" not in frame for frame in failure["stacktrace"]["frames"])


def test_no_prompt_and_no_answer_leaves(run: Run) -> None:
    """Nor in the debug lines of the clients, of which Anthropic's hold the whole request."""
    assert len(run.outcome.events) == len(FAILURES)
    assert run.receiver.log_records
    assert "brain_otel failed" not in run.outcome.output
    for text in (*TEXTS.values(), KEY):
        assert text not in run.all_texts


@thorough
def test_what_is_asked_for_leaves_masked(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = run_script(SCRIPT, tmp_path_factory.mktemp("llm"), {CAPTURE: "SPAN_AND_EVENT", EVENTS: "true"})
    for case in CALLS:
        if not case.startswith("embeddings"):
            asked, answered = (run.chat(case)["data"][f"gen_ai.{name}.messages"] for name in ("input", "output"))
            assert TEXTS["PROMPT"] in str(asked)
            assert TEXTS["ARGUMENT" if case.endswith("tool") else "ANSWER"] in str(answered)
    assert KEY not in run.all_texts
