"""Sentry's trace headers beside W3C's, at the propagators."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage as otel_baggage
from opentelemetry import trace as otel_trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sentry_sdk.integrations.opentelemetry import SentryPropagator as UpstreamPropagator

from brain_otel.events.listeners import local_trace_entered
from brain_otel.runtime import guard
from brain_otel.sampling.context import CALLER
from brain_otel.sampling.head import HeadSampler
from brain_otel.sentry.dynamic_sampling_context import create_sampling_context
from brain_otel.sentry.propagator import SentryPropagator
from brain_otel.sentry.trace_headers import MAX_BAGGAGE_LENGTH
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge, Connect
from tests.support.ingest import Json
from tests.support.tiers import searched

A, B = "a" * 32, "b" * 32
SPAN, OTHER = "c" * 16, "d" * 16
PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator(), SentryPropagator()])


@pytest.fixture(autouse=True)
def _nothing_is_swallowed() -> Iterator[None]:
    guard.reraise_failures(True)
    yield
    guard.reraise_failures(False)


def caller(context: Context) -> SpanContext:
    return otel_trace.get_current_span(context).get_span_context()


def extract(**headers: str) -> Context:
    """Read headers; an underscore in a name stands for a hyphen."""
    return PROPAGATOR.extract({name.replace("_", "-"): value for name, value in headers.items()}, Context())


def inject(context: Context) -> dict[str, str]:
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier, context)
    return carrier


def entries(header: str) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in header.split(",")) if header else {}


def sampling_context(context: Context) -> dict[str, str]:
    return create_sampling_context(caller(context), context)


def is_sampled(context: Context, *, root: Any = ALWAYS_ON) -> bool:
    provider = TracerProvider(sampler=HeadSampler(ParentBased(root)), shutdown_on_exit=False)
    return provider.get_tracer("test").start_span("root", context=context).is_recording()


def test_the_propagator_replaces_that_of_sentry_sdk() -> None:
    """Code that looks for that class finds this one, and `fields` has every header."""
    assert isinstance(SentryPropagator(), UpstreamPropagator)
    assert {"sentry-trace", "baggage"} <= PROPAGATOR.fields


class TestReading:
    def test_sentry_trace_alone(self) -> None:
        """The caller's ids and decision are taken."""
        context = extract(sentry_trace=f"{A}-{SPAN}-1")
        found = caller(context)
        assert (f"{found.trace_id:032x}", f"{found.span_id:016x}", found.is_remote) == (A, SPAN, True)
        assert is_sampled(context, root=ALWAYS_OFF)
        assert sampling_context(context) == {}

    def test_sentry_trace_that_was_not_sampled(self) -> None:
        """The trace is linked and not recorded."""
        context = extract(sentry_trace=f"{A}-{SPAN}-0")
        assert f"{caller(context).trace_id:032x}" == A
        assert not is_sampled(context, root=ALWAYS_ON)

    @pytest.mark.parametrize("root", [ALWAYS_ON, ALWAYS_OFF])
    def test_sentry_trace_without_a_flag(self, root: Any) -> None:
        """The trace is linked; this service decides whether to record it."""
        context = extract(sentry_trace=f"{A}-{SPAN}")
        assert f"{caller(context).trace_id:032x}" == A
        assert is_sampled(context, root=root) is (root is ALWAYS_ON)

    @pytest.mark.parametrize("flag", ["00", "01"])
    def test_traceparent_alone(self, flag: str) -> None:
        """OpenTelemetry's propagator reads it, and ours adds nothing."""
        context = extract(traceparent=f"00-{A}-{SPAN}-{flag}")
        found = caller(context)
        assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (A, SPAN)
        assert is_sampled(context) is (flag == "01")

    def test_both_that_agree(self) -> None:
        """The caller's sampling context is taken."""
        baggage = f"sentry-trace_id={A},sentry-release=front%401"
        context = extract(traceparent=f"00-{A}-{SPAN}-01", sentry_trace=f"{A}-{SPAN}-1", baggage=baggage)
        assert f"{caller(context).span_id:016x}" == SPAN
        assert sampling_context(context) == {"trace_id": A, "release": "front@1"}

    def test_both_that_agree_without_baggage(self, bridge: Bridge) -> None:
        """The caller uses Sentry's protocol and owns an empty sampling context, as with `sentry-trace` alone."""
        for headers in ({}, {"baggage": f"sentry-trace_id={B}"}):
            context = extract(traceparent=f"00-{A}-{SPAN}-01", sentry_trace=f"{A}-{SPAN}-1", **headers)
            assert sampling_context(context) == {}
        assert sampling_context(extract(traceparent=f"00-{A}-{SPAN}-01"))["release"] == "shop@1"
        assert bridge.ingest.rejected == []

    def test_both_that_disagree(self, bridge: Bridge) -> None:
        """`traceparent` is the nearer hop; the sampling context belongs to another trace."""
        baggage = f"sentry-trace_id={B},sentry-release=front%401,tenant=acme"
        context = extract(traceparent=f"00-{A}-{SPAN}-01", sentry_trace=f"{B}-{OTHER}-0", baggage=baggage)
        found = caller(context)
        assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (A, SPAN)
        assert is_sampled(context, root=ALWAYS_OFF)
        assert sampling_context(context)["trace_id"] == A
        assert sampling_context(context)["release"] == "shop@1"
        assert otel_baggage.get_baggage("tenant", context) == "acme"
        assert bridge.ingest.rejected == []

    @pytest.mark.parametrize("is_w3c", [False, True])
    @pytest.mark.parametrize(
        ("options", "entries", "continued", "taken"),
        [
            ({}, "public_key=public", True, True),
            ({}, "public_key=theirs", True, False),
            ({}, "org_id=2,public_key=theirs", True, False),
            ({"org_id": "1"}, "org_id=1,public_key=theirs", True, True),
            ({"org_id": "1"}, "org_id=2,public_key=theirs", False, False),
            ({"org_id": "1"}, "org_id=2,public_key=public", False, False),
            ({"org_id": "1"}, "org_id=2", False, False),
            ({"org_id": "1"}, "public_key=theirs", True, False),
            ({"strict_trace_continuation": True}, "public_key=public", True, True),
            ({"strict_trace_continuation": True}, "public_key=theirs", False, False),
            ({"strict_trace_continuation": True}, "org_id=2,public_key=public", False, False),
            ({"strict_trace_continuation": True, "org_id": "1"}, "public_key=public", False, False),
            ({"strict_trace_continuation": True, "org_id": "1"}, "org_id=1,public_key=theirs", True, True),
        ],
    )
    def test_a_trace_of_another_organization(
        self, connect: Connect, options: Json, entries: str, continued: bool, taken: bool, is_w3c: bool
    ) -> None:
        """It is not continued but linked; nor is its sampling context taken while the organization is unknown."""
        connect(options=options)
        members = ",".join(f"sentry-{each}" for each in f"trace_id={A},release=front%401,{entries}".split(","))
        headers = {"traceparent": f"00-{A}-{SPAN}-01"} if is_w3c else {}
        context = extract(**headers, sentry_trace=f"{A}-{SPAN}-1", baggage=f"tenant=acme,{members}")
        assert caller(context).is_valid is continued
        assert (context.get(CALLER) is None) is continued
        assert otel_baggage.get_baggage("tenant", context) == "acme"
        assert (otel_baggage.get_baggage("sentry-release", context) is not None) is continued
        if continued:
            assert (sampling_context(context)["release"] == "front@1") is taken
        else:
            linked = context[CALLER]
            assert isinstance(linked, SpanContext)
            assert (f"{linked.trace_id:032x}", f"{linked.span_id:016x}") == (A, SPAN)

    @pytest.mark.parametrize("traceparent", ["", "00-zz", f"00-{'0' * 32}-{SPAN}-01", f"ff-{B}-{SPAN}-01"])
    def test_sentry_trace_beside_a_bad_traceparent(self, traceparent: str) -> None:
        """A header that cannot be read does not win."""
        context = extract(traceparent=traceparent, sentry_trace=f"{A}-{SPAN}-1")
        assert f"{caller(context).trace_id:032x}" == A

    def test_a_frozen_sampling_context_of_the_caller(self) -> None:
        """It is taken unchanged; missing entries are not added."""
        context = extract(sentry_trace=f"{A}-{SPAN}-1", baggage=f"sentry-trace_id={A}, sentry-sample_rate=0.25 ,x=y")
        assert sampling_context(context) == {"trace_id": A, "sample_rate": "0.25"}

    def test_a_caller_without_baggage_owns_an_empty_sampling_context(self, bridge: Bridge) -> None:
        """By Sentry's rule, even if the baggage has entries of others."""
        for headers in ({}, {"baggage": "tenant=acme"}):
            assert sampling_context(extract(sentry_trace=f"{A}-{SPAN}-1", **headers)) == {}
        assert bridge.ingest.rejected == []

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "-",
            "garbage",
            f"{A}",
            f"-{SPAN}",
            f"{'0' * 32}-{SPAN}-1",
            f"{A}-{'0' * 16}-1",
            f"{A.upper()}-{SPAN}-1",
            f"{A}-{SPAN}-2",
            f"{A}-{SPAN}-",
            f"{A}-{SPAN}-1-1",
            f"{A}0-{SPAN}-1",
            f"{A[:-1]}-{SPAN}-1",
            f"{A[:-1]}\u0661-{SPAN}-1",
            f"{A}-{SPAN}-1; drop",
            "\x00" * 51,
            f"{A}-{SPAN}-1" * 1_000,
        ],
    )
    def test_a_malformed_header_starts_a_new_trace(self, header: str) -> None:
        """Even if half of it can be read, except for a trailing dash."""
        found = caller(extract(sentry_trace=header))
        assert not found.is_valid or (header == f"{A}-{SPAN}-" and f"{found.trace_id:032x}" == A)

    def test_too_much_baggage_is_not_read(self) -> None:
        """Beyond W3C's limit it is ignored; the trace is linked."""
        baggage = f"sentry-trace_id={A}," + "x" * MAX_BAGGAGE_LENGTH + "=1"
        context = extract(sentry_trace=f"{A}-{SPAN}-1", baggage=baggage)
        assert f"{caller(context).trace_id:032x}" == A
        assert sampling_context(context) == {}


class TestWriting:
    def context(self, *, sampled: bool = True) -> Context:
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        span = SpanContext(int(A, 16), int(SPAN, 16), is_remote=False, trace_flags=flags)
        return otel_trace.set_span_in_context(NonRecordingSpan(span), Context())

    @pytest.mark.parametrize("sampled", [True, False])
    def test_headers_for_every_valid_span(self, bridge: Bridge, sampled: bool) -> None:
        """Both trace headers and the sampling context are written, recorded or not."""
        written = inject(self.context(sampled=sampled))
        assert written["traceparent"] == f"00-{A}-{SPAN}-0{int(sampled)}"
        assert written["sentry-trace"] == f"{A}-{SPAN}-{int(sampled)}"
        assert entries(written["baggage"]) == {
            "sentry-trace_id": A,
            "sentry-sample_rand": "0.666666",
            "sentry-sampled": str(sampled).lower(),
            "sentry-sample_rate": "1.0",
            "sentry-environment": "test",
            "sentry-release": "shop%401",
            "sentry-public_key": "public",
        }
        assert bridge.ingest.rejected == []

    def test_nothing_without_a_span(self, bridge: Bridge) -> None:
        """No header is written."""
        assert inject(Context()) == {}
        assert bridge.ingest.rejected == []

    def test_everyones_baggage_is_handed_on(self, bridge: Bridge) -> None:
        """The user's entries beside Sentry's, whatever their values."""
        context = otel_baggage.set_baggage("tenant", "acme & s\u00f6hne,=;", self.context())
        written = inject(context)
        assert otel_baggage.get_baggage("tenant", extract(**written)) == "acme & s\u00f6hne,=;"
        assert entries(written["baggage"])["sentry-trace_id"] == A
        assert bridge.ingest.rejected == []

    def test_a_frozen_context_is_handed_on_unchanged(self, bridge: Bridge) -> None:
        """Nothing is added, changed or repeated."""
        baggage = f"sentry-trace_id={A},sentry-release=front%401,sentry-user_segment=a%20b,tenant=acme"
        context = extract(sentry_trace=f"{A}-{SPAN}-1", baggage=baggage)
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            span = bridge.tracer.start_span("root", context=context)
            assert trace.root is span
            written = inject(otel_trace.set_span_in_context(span, context))
            span.end()
        assert written["sentry-trace"].startswith(f"{A}-")
        assert sorted(written["baggage"].split(",")) == sorted(baggage.split(","))

    @pytest.mark.parametrize("value", ["0.5", "a b,c", "%", "1\u00b2", "\u00fc" * 9, "x y" * 300, "line\nbreak", "."])
    @pytest.mark.parametrize("key", ["sample_rand", "sampled", "release", "k\u00e9y"])
    def test_values_from_outside_keep_their_quoting(self, bridge: Bridge, key: str, value: str) -> None:
        """Even for keys that Sentry does not use, each time."""
        baggage = f"sentry-trace_id={A},sentry-{quote(key)}={quote(value)}"
        for _ in range(2):
            context = extract(sentry_trace=f"{A}-{SPAN}-1", baggage=baggage)
            assert inject(context)["baggage"] == baggage
        assert bridge.ingest.rejected == []

    def test_the_sampling_context_does_not_change_after_it_was_handed_on(self, bridge: Bridge) -> None:
        """A later name of the transaction does not change it."""
        with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("first") as root:
            context = otel_trace.set_span_in_context(root)
            before = inject(context)["baggage"]
            root.update_name("second")
            assert inject(context)["baggage"] == before
            assert entries(before)["sentry-transaction"] == "first"

    @given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=5))
    def test_any_baggage_makes_a_header_that_http_can_carry(self, given_baggage: dict[str, str]) -> None:
        """It has no line break or control character, and only ASCII."""
        context = self.context()
        for key, value in given_baggage.items():
            context = otel_baggage.set_baggage(key, value, context)
        for value in inject(context).values():
            assert re.fullmatch(r"[\x21-\x7e]*", value)


HEX = st.text("0123456789abcdef", min_size=30, max_size=34)
PIECES = st.lists(
    st.sampled_from([A, B, SPAN, OTHER, "0" * 32, "0" * 16, "00", "01", "ff", "-", "--", "1", "0", " ", ",", "\t"])
    | HEX
    | st.text(max_size=3),
    max_size=9,
).map("".join)
WELL_FORMED = st.builds(
    "{}-{}{}".format,
    st.sampled_from([A, B, "0" * 32]),
    st.sampled_from([SPAN, OTHER]),
    st.sampled_from(["", "-0", "-1"]),
)
LATIN = st.binary(max_size=80).map(lambda raw: raw.decode("latin-1"))
TRACE_HEADER = PIECES | WELL_FORMED | st.text(max_size=80) | LATIN
BAGGAGE = (
    st.lists(
        st.sampled_from(["sentry-", "trace_id", "=", ",", ";", A, "%", "%ZZ", "%00", "sentry", "-", " ", "a"])
        | st.text(max_size=3),
        max_size=12,
    ).map("".join)
    | LATIN
)


@searched(
    300,
    2_000,
    sentry_trace=TRACE_HEADER,
    traceparent=st.none() | TRACE_HEADER | WELL_FORMED.map("00-{}".format),
    baggage=BAGGAGE,
)
def test_malformed_headers_never_raise_and_never_link_wrongly(
    sentry_trace: str, traceparent: str | None, baggage: str
) -> None:
    """The ids are those of a header, or a new trace starts."""
    headers = {"sentry_trace": sentry_trace, "baggage": baggage}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    context = extract(**headers)
    found = caller(context)
    if found.is_valid:
        ids = re.compile(rf"{found.trace_id:032x}-?{found.span_id:016x}")
        assert ids.search(sentry_trace) or ids.search(traceparent or "")
        assert found.trace_id
        assert found.span_id
        written = inject(context)
        assert written["sentry-trace"].startswith(f"{found.trace_id:032x}-{found.span_id:016x}")
        assert caller(extract(**written)) == found
    else:
        assert caller(context) == otel_trace.INVALID_SPAN_CONTEXT
    assert isinstance(sampling_context(context), dict)
