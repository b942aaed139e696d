"""A request that nobody records costs no span, tells the next service so, and is linked to its error all the same."""

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from brain_otel.sampling.decision import sample_rand
from tests.instrumentation.target import start_target
from tests.sampling.wired import write_file
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import run_python
from tests.support.services import Valkey
from tests.support.tiers import quick_first

Json = dict[str, Any]
CALLERS = ("nobody", "w3c, no", "w3c, yes", "sentry, no", "sentry, yes", "both, no")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPANS = ["GET", "GET", "SELECT", "SET"]
"""As they start; the request's own has the name of its route when that is known."""


class Run:
    """What one process has answered, what it has sent on, and what has arrived at Sentry."""

    def __init__(self, folder: Path, valkey: str, count: int | None = None, **file: Any) -> None:
        with SentryIngest() as ingest, start_target() as target:
            config = write_file(folder, ingest.dsn, **file)
            config.write_text(
                config.read_text() + "\npropagator: {composite: [tracecontext: , baggage: , sentry: ]}\n"
            )
            env = {"CONFIG": str(config), "ENVIRONMENT": "production", "VALKEY": valkey, "TARGET": target.url}
            # That nothing is asked for a span which nobody records is a fast path.
            env["BRAIN_OTEL_FAST_PATHS"] = "true"
            if count is not None:
                env["COUNT"] = str(count)
            done = run_python(ROOT / "tests/apps/unrecorded.py", env, pythonpath=[ROOT])
            assert done.returncode == 0, done.stderr
            assert "brain_otel failed" not in done.stderr
            self.answers: Json = json.loads(done.stdout)
            self.headers = dict(target.headers)
            self.events, self.transactions = ingest.events, ingest.transactions


@pytest.fixture(scope="module")
def at_rate(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Run]:
    """Ask everything at a rate, once."""

    @cache
    def run(rate: float) -> Run:
        return Run(tmp_path_factory.mktemp("rate"), valkey.url, rate=rate)

    return run


def suppressed(rate: float) -> list[str]:
    return [name for name in CALLERS if not name.endswith("yes") and (rate == 0 or name != "nobody")]


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_an_unrecorded_request_creates_no_span(at_rate: Callable[[float], Run], rate: float) -> None:
    """Neither do its SQL, Redis commands and calls, and the sampler is not asked for them."""
    for name in suppressed(rate):
        answer = at_rate(rate).answers[name]
        assert (answer["recorded spans"], answer["asked for"]) == ([], []), name
        assert (answer["recording"], answer["left out"], answer["flags"] & 1) == (False, True, 0)
        assert name == "nobody" or answer["trace"] == TRACE


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_recorded_request_has_all_its_spans(at_rate: Callable[[float], Run], rate: float) -> None:
    """Every call is one, and the sampler is not asked again."""
    for name in set(CALLERS) - set(suppressed(rate)):
        answer = at_rate(rate).answers[name]
        kinds = [each.partition(" ")[0] for each in answer["recorded spans"]]  # without the server of a command
        assert (kinds, answer["asked for"]) == (SPANS, []), name
        assert (answer["recording"], answer["left out"], answer["flags"] & 1) == (True, False, 1)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_next_service_gets_the_trace_and_the_decision(at_rate: Callable[[float], Run], rate: float) -> None:
    """In each header, beside the baggage of the application and the caller."""
    run = at_rate(rate)
    for number, name in enumerate(CALLERS):
        answer, sent = run.answers[name], run.headers[f"/headers/{number}"]
        flag = 0 if name in suppressed(rate) else 1
        version, trace, span, flags = sent["traceparent"].split("-")
        assert (version, trace, int(flags, 16) & 1) == ("00", answer["trace"], flag), name
        assert sent["sentry-trace"] == f"{trace}-{span}-{flag}"
        assert span != answer["span"]  # each call names a parent of its own, recorded or not
        baggage = dict(each.strip().split("=", 1) for each in sent["baggage"].split(","))
        # Where the caller sent entries, OpenTelemetry's own propagator writes them over the application's header.
        theirs = name.startswith("sentry")
        assert (baggage.get("mine"), baggage.get("theirs")) == ((None, "1") if theirs else ("1", None))
        assert baggage.get("sentry-sampled", "true" if flag else "false") == ("true" if flag else "false")
        if not name.startswith(("sentry", "w3c", "both")):
            assert baggage["sentry-trace_id"] == trace
            assert baggage["sentry-sampled"] == ("true" if flag else "false")


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_an_error_in_any_request_is_an_event_of_its_trace(at_rate: Callable[[float], Run], rate: float) -> None:
    """Exactly one; only a recorded request is a transaction."""
    run = at_rate(rate)
    traces = {each["exception"]["values"][-1]["value"]: each["contexts"]["trace"]["trace_id"] for each in run.events}
    assert len(run.events) == len(CALLERS)
    assert traces.keys() == {f"boom {number}" for number in range(len(CALLERS))}
    assert all(traces[f"boom {number}"] == TRACE for number in range(1, len(CALLERS)))
    assert traces["boom 0"] != TRACE
    for number, name in enumerate(CALLERS):
        recorded = run.answers[f"{name}, failing"]["recorded spans"]
        assert recorded == ([] if name in suppressed(rate) else ["GET"])
        assert run.answers[f"{name}, failing"]["status"] == 500, number
    names = [each["transaction"] for each in run.transactions if not each["transaction"].endswith("/decide/{number}")]
    assert len(names) == 2 * (len(CALLERS) - len(suppressed(rate)))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_health_check_tells_the_next_service_not_to_record(at_rate: Callable[[float], Run], rate: float) -> None:
    """It has no trace of its own, so its calls carry a new, unsampled one."""
    run = at_rate(rate)
    answer, sent = run.answers["health"], run.headers["/headers/health"]
    assert (answer["recorded spans"], answer["left out"], answer["recording"]) == ([], False, False)
    assert int(sent["traceparent"].rpartition("-")[2], 16) & 1 == 0
    assert sent["sentry-trace"].endswith("-0")


def recorded_of(decisions: list[Json]) -> list[bool]:
    return [each["recording"] for each in decisions]


@pytest.mark.parametrize(
    ("rules", "count"), quick_first([("{}", 400), ("{}", 2_000), ("{rules: [{route: '/decide/*', rate: 0.5}]}", 400)])
)
def test_a_request_is_recorded_if_its_random_number_is_below_the_rate(
    tmp_path: Path, valkey: Valkey, rules: str, count: int
) -> None:
    """By the head's rate or by a rule; their number is within the binomial 99.9 % interval."""
    rate = 0.5
    run = Run(tmp_path, valkey.url, count, rate=rate if rules == "{}" else 1.0, sampling=rules)
    decisions = run.answers["decisions"]
    expected = [sample_rand(int(each["trace"], 16)) < rate for each in decisions]
    assert recorded_of(decisions) == expected
    assert abs(sum(expected) - count * rate) <= 3.29 * math.sqrt(count * rate * (1 - rate)) + 1
    sent = {each["contexts"]["trace"]["trace_id"] for each in run.transactions}
    assert {each["trace"] for each in decisions if each["recording"]} <= sent
    assert not {each["trace"] for each in decisions if not each["recording"]} & sent


@pytest.mark.parametrize(
    "rule",
    quick_first(
        [
            "{route: '/decide/*', per_second: 20}",
            "{method: get, attributes: {url.scheme: http}, per_second: 20}",
            "{per_second: 20}",
        ]
    ),
)
def test_each_request_is_decided_on_once(tmp_path: Path, valkey: Valkey, rule: str) -> None:
    """A limit of twenty a second lets twenty of twenty pass, so no request was counted twice."""
    run = Run(tmp_path, valkey.url, 20, sampling=f"{{rules: [{rule}]}}")
    assert recorded_of(run.answers["decisions"]) == [True] * 20


def test_rules_see_the_attributes_that_a_request_starts_with(tmp_path: Path, valkey: Valkey) -> None:
    """Its method, its route and others."""
    rules = "[{method: post, rate: 0}, {attributes: {user_agent.original: special}, rate: 1}, {rate: 0}]"
    run = Run(tmp_path, valkey.url, 3, sampling=f"{{rules: {rules}}}")
    assert recorded_of(run.answers["decisions"]) == [False] * 3
    assert (run.answers["posted"]["recording"], run.answers["got"]["recording"]) == (False, True)
