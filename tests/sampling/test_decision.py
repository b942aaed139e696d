"""Tests of what the head decides: how many, for whom, and the same as sentry-sdk would."""

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, Sampler, SamplingResult, StaticSampler
from sentry_sdk.transport import Transport

from brain_otel.sampling.context import deferred, with_sample_rand, with_sentry_decision
from brain_otel.sampling.decision import DroppedSpan, is_dropped, sample_rand
from brain_otel.sampling.policy import DestinationRate, SamplingPolicy
from brain_otel.sentry.propagator import SentryPropagator
from tests.sampling.chosen import SeededIds, Service, caller, decision, with_rand
from tests.support.tiers import quick_first

TRACES = 20_000
RATES = (0.0, 0.01, 0.1, 0.5, 1.0)
SEED = 20_261_124


def interval(trials: int, rate: float, confidence: float = 0.999) -> tuple[int, int]:
    """Give the central interval of a binomial distribution: beyond either end lies half of what is left at most."""
    if rate in (0.0, 1.0):
        return int(trials * rate), int(trials * rate)
    rest, low, high, below = (1.0 - confidence) / 2, 0, trials, 0.0
    logs = math.log(rate), math.log1p(-rate)
    for successes in range(trials + 1):
        combinations = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
        chance = math.exp(combinations + successes * logs[0] + (trials - successes) * logs[1])
        if below + chance <= rest:
            low = successes + 1
        below += chance
        if below >= 1.0 - rest:
            high = successes
            break
    return low, high


def test_interval_matches_tables() -> None:
    """20 tosses of a coin, and the normal approximation for a tenth of 20,000."""
    assert interval(20, 0.5, 0.95) == (6, 14)
    low, high = interval(TRACES, 0.1)
    deviation = 3.2905 * math.sqrt(TRACES * 0.1 * 0.9)
    assert abs(low - (2_000 - deviation)) < 2
    assert abs(high - (2_000 + deviation)) < 2


@pytest.mark.parametrize("rate", quick_first(RATES, 3))
def test_the_recorded_share_is_the_rate(rate: float) -> None:
    """Of 20,000 traces, within the binomial 99.9 % interval; each is recorded as a whole or not at all."""
    service = Service(rate, ids=SeededIds(SEED))
    recorded = 0
    for _ in range(TRACES):
        root = service.root()
        child = service.child(root)
        assert child.is_recording() is root.is_recording()
        recorded += root.is_recording()
        child.end()
        root.end()
    low, high = interval(TRACES, rate)
    assert low <= recorded <= high
    assert len(service["sentry"].ended) == 2 * recorded


def test_a_trace_that_nobody_records_creates_no_sdk_span() -> None:
    """Its spans have ids only."""
    service = Service(0.0)
    root = service.root()
    assert isinstance(root, otel_trace.NonRecordingSpan)
    assert isinstance(service.child(root), otel_trace.NonRecordingSpan)
    assert root.get_span_context().is_valid


def test_a_span_that_is_not_recorded_says_so_by_its_class() -> None:
    """A look at its trace state costs more, for each call that a request makes."""
    ids = otel_trace.SpanContext(1, 2, is_remote=False)
    assert is_dropped(DroppedSpan(ids))
    assert not is_dropped(otel_trace.NonRecordingSpan(ids))
    assert not is_dropped(otel_trace.NonRecordingSpan(otel_trace.SpanContext(1, 2, is_remote=True)))
    assert not is_dropped(None)


class TestShares:
    @pytest.mark.thorough
    def test_a_smaller_share_is_part_of_a_larger_one(self) -> None:
        """By one random number: the console gets all, a file half, Sentry a tenth."""
        service = Service(shares={"console": 1.0, "file": 0.5, "sentry": 0.1}, ids=SeededIds(SEED))
        for _ in range(TRACES):
            root = service.root()
            service.child(root).end()
            root.end()
        console, file, sentry = (service[name].trace_ids for name in ("console", "file", "sentry"))
        assert len(console) == TRACES
        assert sentry < file < console
        for seen, rate in ((file, 0.5), (sentry, 0.1)):
            low, high = interval(TRACES, rate)
            assert low <= len(seen) <= high
        for name, seen in (("console", console), ("file", file), ("sentry", sentry)):
            assert len(service[name].ended) == 2 * len(seen)  # whole

    def test_a_destination_sees_both_start_and_end_of_a_span(self) -> None:
        """Or neither, if it is excluded."""
        service = Service(shares={"console": 1.0, "sentry": 0.1})
        for rand in (0.05, 0.5):
            service.root(context=caller(with_rand(rand), sampled=True)).end()
        assert len(service["console"].started) == len(service["console"].ended) == 2
        assert len(service["sentry"].started) == len(service["sentry"].ended) == 1

    def test_a_trace_that_no_destination_wants_is_not_recorded(self) -> None:
        """The head's rate is an upper bound; every destination takes a tenth, so a tenth is recorded."""
        service = Service(shares={"sentry": 0.1})
        assert service.decision(with_rand(0.05)).outcome is Decision.RECORD_AND_SAMPLE
        assert service.decision(with_rand(0.15)).outcome is Decision.DROP

    def test_a_share_is_bounded_by_the_heads_rate(self) -> None:
        """A larger share records no more."""
        service = Service(0.05, shares={"console": 1.0, "sentry": 0.1})
        assert service.decision(with_rand(0.07)).outcome is Decision.DROP
        decided = service.decision(with_rand(0.01))
        assert (decided.reaches("console"), decided.reaches("sentry"), decided.rate) == (True, True, 0.05)

    def test_sentry_is_told_its_own_rate(self) -> None:
        """Not the head's: Sentry extrapolates from what it gets."""
        assert Service(0.8, shares={"console": 1.0, "sentry": 0.1}).decision(with_rand(0.5)).rate == 0.1
        assert Service(0.8, shares={"console": 0.1, "sentry_otlp": 1.0}).decision(with_rand(0.5)).rate == 0.8


class TestCallers:
    @pytest.mark.parametrize("rate", [0.0, 1.0])
    @pytest.mark.parametrize("sampled", [True, False])
    def test_traceparent_decides_for_every_destination(self, sampled: bool, rate: float) -> None:
        """Without a share of its own, Sentry gets what the caller records."""
        service = Service(rate, shares={"otlp": 1.0, "sentry": 1.0})
        decided = service.decision(with_rand(0.5), context=caller(with_rand(0.5), sampled=sampled))
        assert (decided.reaches("otlp"), decided.reaches("sentry")) == (sampled, sampled)
        assert not decided.decided_here

    @pytest.mark.parametrize(("rand", "expected"), [(0.05, True), (0.5, False)])
    def test_a_share_applies_to_a_callers_traces_too(self, rand: float, expected: bool) -> None:
        """Callers with W3C's headers alone decide by the same number, so that traces stay whole."""
        service = Service(shares={"otlp": 1.0, "sentry": 0.1})
        decided = service.decision(with_rand(rand), context=caller(with_rand(rand), sampled=True))
        assert (decided.reaches("otlp"), decided.reaches("sentry")) == (True, expected)
        assert decided.rate == 0.1

    @pytest.mark.parametrize("recorded", [True, False])
    @pytest.mark.parametrize("for_sentry", [True, False])
    def test_each_header_decides_for_its_destinations(self, recorded: bool, for_sentry: bool) -> None:
        """`sentry-trace` for Sentry, `traceparent` for the others; the span has the flag of the latter."""
        service = Service(shares={"otlp": 1.0, "sentry": 0.1})
        trace_id = with_rand(0.5)
        context = with_sentry_decision(caller(trace_id, sampled=recorded), trace_id, for_sentry)
        root = service.root(context=context)
        assert root.is_recording() is (recorded or for_sentry)
        assert root.get_span_context().trace_flags.sampled is recorded
        root.end()
        assert len(service["otlp"].ended) == recorded
        assert len(service["sentry"].ended) == for_sentry
        for span in (*service["otlp"].ended, *service["sentry"].ended):
            found = span.get_span_context()
            assert found is not None
            assert found.trace_flags.sampled  # or an exporter would leave it out

    def test_a_deferred_decision_uses_the_callers_random_number(self) -> None:
        """From the baggage, not from the trace id."""
        service = Service(0.5)
        trace_id = with_rand(0.9)
        context = deferred(caller(trace_id, sampled=False))
        assert not service.decision(trace_id, context=context).sentry
        decided = service.decision(trace_id, context=with_sample_rand(context, trace_id, "0.400000"))
        assert (decided.sentry, decided.rand, decided.decided_here) == (True, 0.4, True)

    @pytest.mark.parametrize("number", ["", "x", "1.0", "-0.1", "nan", "inf", None])
    def test_a_malformed_random_number_is_ignored(self, number: str | None) -> None:
        """Nothing is raised."""
        trace_id = with_rand(0.25)
        context = with_sample_rand(deferred(caller(trace_id, sampled=False)), trace_id, number)
        assert Service(0.5).decision(trace_id, context=context).rand == 0.25

    def test_a_decision_about_another_trace_is_ignored(self) -> None:
        """A context may be used again."""
        trace_id = with_rand(0.25)
        context = with_sample_rand(caller(trace_id, sampled=True), trace_id + 2, "0.9")
        context = with_sentry_decision(context, trace_id + 2, False)
        decided = Service(0.5).decision(trace_id, context=context)
        assert (decided.rand, decided.sentry) == (0.25, True)

    def test_the_callers_trace_state_is_passed_on(self) -> None:
        """The decision is kept on the trace state and adds nothing to its header."""
        context = caller(7, sampled=True)
        parent = otel_trace.get_current_span(context).get_span_context()
        state = otel_trace.TraceState([("vendor", "1"), ("other", "2")])
        parent = otel_trace.SpanContext(parent.trace_id, parent.span_id, True, parent.trace_flags, state)
        service = Service()
        root = service.root(context=otel_trace.set_span_in_context(otel_trace.NonRecordingSpan(parent)))
        for span in (root, service.child(root)):
            assert span.get_span_context().trace_state.to_header() == "vendor=1,other=2"
            assert span.get_span_context().trace_state == state
            assert decision(span) is decision(root)


class TestOtherSamplers:
    """A sampler of another shape decides itself."""

    class Named(Sampler):
        """Records what is called so."""

        def should_sample(self, *asked: Any, **_: Any) -> SamplingResult:
            recorded = Decision.RECORD_AND_SAMPLE if asked[2].startswith("wanted") else Decision.DROP
            return SamplingResult(recorded, {"by": "name"}, otel_trace.TraceState([("named", "1")]))

        def get_description(self) -> str:
            return "Named"

    def test_its_decision_attributes_and_trace_state_are_used(self) -> None:
        """For the root and for each span inside."""
        service = Service(sampler=self.Named(), shares={"console": 1.0, "sentry": 0.1})
        root = service.root("wanted")
        assert root.is_recording()
        assert root.get_span_context().trace_state.to_header() == "named=1"
        assert not service.child(root, "other").is_recording()
        assert service.child(root, "wanted too").is_recording()
        root.end()
        assert dict(service["console"].ended[0].attributes or {}) == {"by": "name"}
        assert not service.root("other").is_recording()

    def test_shares_apply_to_what_it_records(self) -> None:
        """A trace that no destination wants is not recorded."""
        service = Service(sampler=self.Named(), shares={"sentry": 0.1})
        keep_reason = sum(service.root("wanted").is_recording() for _ in range(2_000))
        low, high = interval(2_000, 0.1, 1 - 1e-9)
        assert low <= keep_reason <= high

    @pytest.mark.parametrize(("sampler", "recorded"), [(ALWAYS_ON, True), (ALWAYS_OFF, False)])
    def test_a_sampler_that_is_not_parent_based_ignores_the_caller(self, sampler: Sampler, recorded: bool) -> None:
        """Like OpenTelemetry's own."""
        for sampled in (True, False):
            assert Service(sampler=sampler).root(context=caller(7, sampled=sampled)).is_recording() is recorded

    def test_a_record_only_sampler_records(self) -> None:
        """For processors that the application adds itself."""
        service = Service(sampler=Unsampled(Decision.RECORD_ONLY))
        root = service.root()
        assert root.is_recording()
        assert service.child(root).is_recording()
        assert not root.get_span_context().trace_flags.sampled
        root.end()
        assert service["sentry"].ended == []


class Unsampled(StaticSampler):
    """One that OpenTelemetry has no name for."""

    def get_description(self) -> str:
        return "Unsampled"


class Nowhere(Transport):
    """Keeps nothing; there for sentry-sdk's monitor to ask."""

    healthy = True

    def capture_envelope(self, envelope: Any) -> None:
        """Keep nothing."""

    def is_healthy(self) -> bool:
        return self.healthy


@pytest.fixture
def sentry() -> Iterator[Any]:
    """Give sentry-sdk itself, with its own tracing, away from everything else."""
    with sentry_sdk.isolation_scope() as scope:
        transport = Nowhere({"dsn": "http://key@127.0.0.1:9/1"})
        yield lambda rate: scope.set_client(
            sentry_sdk.Client(
                dsn="http://key@127.0.0.1:9/1",
                traces_sample_rate=rate,
                transport=transport,
                default_integrations=False,
                auto_enabling_integrations=False,
            )
        )


@pytest.mark.parametrize("rate", [0.0, 0.000001, 0.01, 0.1, 0.123456, 1 / 3, 0.5, 0.999999, 1.0])
@pytest.mark.parametrize("flag", ["", "-1", "-0"])
def test_decisions_are_sentry_sdks_own(sentry: Any, rate: float, flag: str) -> None:
    """sentry-sdk's own `Transaction` and this sampler agree, for the same headers and `sample_rand`."""
    sentry(rate)
    service = Service(rate)
    numbers = random.Random(SEED)
    edges = [0, 1, 9_999, 10_000, 99_999, 100_000, 123_455, 123_456, 333_333, 333_334, 499_999, 500_000, 999_999]
    for number in [*edges, *(numbers.randrange(1_000_000) for _ in range(300))]:
        trace_id, rand = f"{numbers.getrandbits(128):032x}", f"{number / 1_000_000:.6f}"
        headers = {
            "sentry-trace": f"{trace_id}-{'c' * 16}{flag}",
            "baggage": f"sentry-trace_id={trace_id},sentry-sample_rand={rand}",
        }
        theirs: Any = sentry_sdk.start_transaction(sentry_sdk.continue_trace(headers, op="test", name="root"))
        ours = service.root(context=SentryPropagator().extract(headers))
        assert decision(ours).sentry is theirs.sampled, (rate, rand, flag)
        if not flag:
            assert decision(ours).rand == theirs._sample_rand
            assert decision(ours).rate == theirs.sample_rate


@pytest.mark.parametrize("factor", [1, 2, 5, 10])
def test_decisions_under_pressure_are_sentry_sdks_own(sentry: Any, factor: int) -> None:
    """The factor of its monitor halves the rate as often."""
    sentry(0.8)
    client = sentry_sdk.get_client()
    monitor = client.monitor
    assert monitor is not None
    Nowhere.healthy = False
    try:
        for _ in range(factor):
            monitor.run()
    finally:
        Nowhere.healthy = True
    service = Service(0.8, pressures={"sentry": lambda: monitor.downsample_factor})
    numbers = random.Random(SEED)
    for number in [
        0,
        781,
        782,
        24_999,
        25_000,
        199_999,
        200_000,
        399_999,
        400_000,
        *numbers.sample(range(10**6), 300),
    ]:
        trace_id = f"{numbers.getrandbits(128):032x}"
        headers = {
            "sentry-trace": f"{trace_id}-{'c' * 16}",
            "baggage": f"sentry-trace_id={trace_id},sentry-sample_rand={number / 1_000_000:.6f}",
        }
        theirs: Any = sentry_sdk.start_transaction(sentry_sdk.continue_trace(headers, op="test", name="root"))
        decided = decision(service.root(context=SentryPropagator().extract(headers)))
        assert (decided.sentry, decided.rate) == (theirs.sampled, theirs.sample_rate), number
    client.close()


def test_with_rand_makes_a_trace_id_with_that_number() -> None:
    """These tests build on it."""
    for rand in (0.0, 0.05, 0.25, 0.5, 0.9, 0.999999):
        assert sample_rand(with_rand(rand)) == rand


@pytest.mark.parametrize("halvings", [0, 1, 3])
def test_what_pressure_alone_keeps_away_is_counted(halvings: int) -> None:
    """Not what the share, the head's rate or a rate limit keeps away."""
    counted: list[bool] = []
    rate = DestinationRate(name="sentry", share=0.8, pressure=lambda: halvings, relieved=lambda: counted.append(True))
    policy = SamplingPolicy(destinations=(rate,))
    sampled = sum(policy.recipients(number / 1_000, 1.0, True).sentry for number in range(1_000))
    assert sampled == 800 // 2**halvings
    assert len(counted) == 800 - sampled
    policy.recipients(0.5, 1.0, False)
    policy.recipients(0.5, 0.1, True)
    assert len(counted) == 800 - sampled
