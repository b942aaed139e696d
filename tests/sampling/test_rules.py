"""Tests of rules: what they match, which comes first, and how many they let pass a second."""

import os
import random
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context

from brain_otel.configuration.sections.sampling import RuleSettings
from brain_otel.sampling.rate_limit import RateLimit
from brain_otel.sampling.rules import compiled
from tests.sampling.chosen import Service, caller, with_rand

REQUEST = {"http.request.method": "POST", "http.route": "/missions/{mission_id}", "url.path": "/missions/7"}
OLD = {"http.method": "POST", "http.target": "/missions/7?full=1"}


def matches(span: Mapping[str, Any], here: str = "production", **rule: Any) -> bool:
    rules = compiled((RuleSettings(**rule),), here)
    return bool(rules) and rules[0].matches(span)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("/missions/*", True),
        ("/missions/{mission_id}", True),
        ("/missions/{other_name}", True),
        ("/missions/7", True),
        ("/missions/?", True),
        ("*", True),
        ("/*/7", True),
        ("/missions", False),
        ("/missions/", False),
        ("/missions/8", False),
        ("missions/*", False),
        ("/missions/{mission_id}/steps", False),
        ("/MISSIONS/*", False),
    ],
)
@pytest.mark.parametrize("attributes", [REQUEST, OLD], ids=["stable", "old"])
def test_a_route_is_matched_by_pattern(route: str, expected: bool, attributes: Mapping[str, Any]) -> None:
    """The route as the app declares it, or the path without the query, in both semantic conventions."""
    assert matches(attributes, route=route) is expected


def test_a_placeholder_does_not_match_a_slash() -> None:
    """Unless it is a path converter, as in the app's own routes."""
    path = {"url.path": "/files/a/b"}
    assert not matches(path, route="/files/{name}")
    assert matches(path, route="/files/{name:path}")
    assert matches({"url.path": "/a.b"}, route="/a.b")
    assert not matches({"url.path": "/axb"}, route="/a.b")


@pytest.mark.parametrize(("method", "expected"), [("POST", True), ("post", True), ("GET", False)])
@pytest.mark.parametrize("attributes", [REQUEST, OLD], ids=["stable", "old"])
def test_a_method_is_matched_in_any_case(method: str, expected: bool, attributes: Mapping[str, Any]) -> None:
    """Without a method, nothing matches."""
    assert matches(attributes, method=method) is expected
    assert not matches({}, method=method)


@pytest.mark.parametrize(("environment", "expected"), [("production", True), ("prod*", True), ("staging", False)])
def test_an_environment_is_matched_by_pattern(environment: str, expected: bool) -> None:
    """Once, at set-up."""
    assert matches({}, environment=environment) is expected


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("acme", "acme", True),
        ("ac*", "acme", True),
        ("acme", "acme2", False),
        ("7", 7, True),
        ("true", True, True),
        ("1", True, False),
        ("b", ("a", "b"), True),
        ("c", ("a", "b"), False),
        ("*", None, False),
        ("{x}", "{x}", True),
    ],
)
def test_an_attribute_is_matched_as_text(pattern: str, value: Any, expected: bool) -> None:
    """A missing attribute matches nothing."""
    assert matches({} if value is None else {"tenant": value}, attributes={"tenant": pattern}) is expected


def test_all_conditions_of_a_rule_have_to_match() -> None:
    """A rule without conditions matches everything."""
    rule: dict[str, Any] = {"route": "/missions/*", "method": "POST", "attributes": {"tenant": "acme"}}
    assert matches({**REQUEST, "tenant": "acme"}, **rule)
    assert not matches(REQUEST, **rule)
    assert not matches({**REQUEST, "tenant": "acme", "http.request.method": "GET"}, **rule)
    assert matches({})


class TestTheFirstThatMatches:
    RULES = (
        RuleSettings(route="/health", rate=0.0),
        RuleSettings(route="/*", environment="staging", rate=0.0),
        RuleSettings(method="POST", rate=1.0),
        RuleSettings(route="/missions/*", rate=0.5),
    )

    @pytest.mark.parametrize(
        ("attributes", "rate"),
        [
            ({"url.path": "/health", "http.request.method": "POST"}, 0.0),
            ({"url.path": "/missions/7", "http.request.method": "POST"}, 1.0),
            ({"url.path": "/missions/7", "http.request.method": "GET"}, 0.5),
            ({"url.path": "/users/7", "http.request.method": "GET"}, 0.1),
            ({}, 0.1),
        ],
    )
    def test_the_first_match_decides(self, attributes: Mapping[str, Any], rate: float) -> None:
        """Without a match the head's rate applies; Sentry is told the rate that applied."""
        service = Service(0.1, rules=self.RULES)
        for rand in (0.05, 0.3, 0.7):
            decided = service.decision(with_rand(rand), attributes)
            assert decided.sampled is (rand < rate)
            assert decided.rate == rate

    def test_rules_do_not_decide_for_a_caller(self) -> None:
        """That has decided itself."""
        service = Service(0.1, rules=self.RULES)
        trace_id = with_rand(0.7)
        for sampled in (True, False):
            decided = service.decision(trace_id, {"http.request.method": "POST"}, caller(trace_id, sampled=sampled))
            assert decided.sampled is sampled

    def test_shares_apply_to_rules(self) -> None:
        """A destination gets its share of what a rule records."""
        service = Service(0.1, rules=self.RULES, shares={"console": 1.0, "sentry": 0.2})
        decided = service.decision(with_rand(0.4), {"http.request.method": "POST"})
        assert (decided.reaches("console"), decided.reaches("sentry"), decided.rate) == (True, False, 0.2)

    def test_rules_decide_at_the_local_root_alone(self) -> None:
        """Spans inside follow it."""
        service = Service(0.0, rules=self.RULES)
        root = service.tracer.start_span("root", Context(), attributes={"http.request.method": "POST"})
        context = otel_trace.set_span_in_context(root)
        assert service.tracer.start_span("child", context, attributes={"url.path": "/health"}).is_recording()


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Traffic:
    """What comes, what passes, and what the rates that were told make of it."""

    def __init__(self, per_second: float, rate: float = 1.0, seed: int = 1) -> None:
        self.clock = Clock()
        self.limit = RateLimit(per_second, self.clock)
        self.rate = rate
        self.random = random.Random(seed)
        self.keep_reason: list[float] = []
        self.came = 0
        self.extrapolated = 0.0

    def come(self, number: int, seconds: float) -> None:
        """Let `number` come, evenly over so many seconds."""
        for _ in range(number):
            self.clock.now += seconds / number
            self.came += 1
            rand = self.random.random()
            rate, granted, allowed = self.limit.ask(rand, self.rate)
            if allowed and rand < rate:
                self.keep_reason.append(self.clock.now)
                self.extrapolated += 1 / (rate * granted)

    def most_in(self, seconds: float) -> int:
        """Give the highest number kept in any window of so many seconds."""
        return max(sum(start <= each < start + seconds for each in self.keep_reason) for start in self.keep_reason)


class TestRateLimit:
    @pytest.mark.parametrize("per_second", [1, 10, 100])
    @pytest.mark.parametrize("burst", [200, 5_000])
    def test_no_second_exceeds_the_limit(self, per_second: int, burst: int) -> None:
        """Not even in a burst after a quiet time, or one that takes no time."""
        traffic = Traffic(per_second)
        traffic.come(20, 10.0)
        traffic.come(burst, 0.001)
        traffic.come(burst, 3.0)
        assert traffic.most_in(0.999) <= per_second

    @pytest.mark.parametrize("per_second", [1, 10, 50])
    def test_steady_traffic_uses_the_limit(self, per_second: int) -> None:
        """Nearly all of it, and never more."""
        traffic = Traffic(per_second)
        traffic.come(60_000, 60.0)
        assert 0.55 * 60 * per_second <= len(traffic.keep_reason) <= 60 * per_second + per_second

    @pytest.mark.parametrize("per_second", [1, 10, 50])
    @pytest.mark.parametrize("rate", [1.0, 0.3])
    def test_the_reported_rates_extrapolate_right(self, per_second: int, rate: float) -> None:
        """Each kept trace stands for one over its rate; together they stand for all."""
        traffic = Traffic(per_second, rate)
        traffic.come(40_000, 4_000 / per_second)
        assert 0.93 < traffic.extrapolated / traffic.came < 1.07

    def test_traffic_below_the_limit_passes_at_the_rules_rate(self) -> None:
        """The limit has no effect."""
        traffic = Traffic(10, 0.5)
        traffic.come(2_000, 1_000.0)
        assert 900 <= len(traffic.keep_reason) <= 1_100
        assert traffic.limit.ask(0.9, 0.5) == (0.5, 1.0, True)

    def test_a_limit_may_be_less_than_one_a_second(self) -> None:
        """Such as one in ten seconds."""
        traffic = Traffic(0.1)
        traffic.come(10_000, 200.0)
        assert traffic.most_in(9.99) == 1
        assert 10 <= len(traffic.keep_reason) <= 21

    def test_a_limit_recovers_after_a_burst(self) -> None:
        """All of a small traffic passes again."""
        traffic = Traffic(10)
        traffic.come(10_000, 5.0)
        traffic.come(2, 2.0)
        keep_reason = len(traffic.keep_reason)
        traffic.come(100, 50.0)
        assert len(traffic.keep_reason) == keep_reason + 100

    def test_threads_share_a_limit(self) -> None:
        """The bound is for all of them."""
        limit = RateLimit(50, Clock())
        keep_reason: list[bool] = []

        def come() -> None:
            for _ in range(500):
                rate, _, allowed = limit.ask(0.0, 1.0)
                keep_reason.append(allowed and rate > 0.0)

        threads = [threading.Thread(target=come) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(keep_reason) == 50

    def test_a_forked_child_has_its_own_limit(self) -> None:
        """Another thread of the parent may have held the lock."""
        limit = RateLimit(1, Clock())
        limit.ask(0.0, 1.0)
        with limit._lock:
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(0 if limit.ask(0.0, 1.0)[2] else 1)
                finally:
                    os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    def test_each_rule_has_its_own_limit(self) -> None:
        """Sentry is told the resulting rate."""
        rules = (RuleSettings(route="/missions/*", per_second=5.0), RuleSettings(route="/users/*", per_second=2.0))
        service = Service(0.0, rules=rules)
        for path, most in (("/missions/7", 5), ("/users/7", 2)):
            decided = [service.decision(with_rand(0.0), {"url.path": path}) for _ in range(50)]
            assert sum(each.sampled for each in decided) == most
            assert all(each.rate is not None and 0.0 < each.rate <= 1.0 for each in decided)
            assert [each.rate for each in decided][-1] != 1.0
