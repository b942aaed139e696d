"""One sampling decision for OpenTelemetry and Sentry alike, made at the head of a trace.

``head`` decides, ``verdict`` is what it decided, ``rules`` and ``rate_limit`` say at which rate, ``gate`` lets each
destination have what is meant for it, and ``tail`` keeps what ended badly although the head said no.
"""

from brain_otel.sampling.decided import DecidedIds, decided_as
from brain_otel.sampling.gate import Gate
from brain_otel.sampling.head import HeadSampler
from brain_otel.sampling.incoming import is_unrecorded, undecided, unrecorded, with_sample_rand, with_sentry_decision
from brain_otel.sampling.plan import Plan, Share
from brain_otel.sampling.verdict import Verdict, is_dropped, is_for_sentry, sample_rand, verdict_of

__all__ = [
    "DecidedIds",
    "Gate",
    "HeadSampler",
    "Plan",
    "Share",
    "Verdict",
    "decided_as",
    "is_dropped",
    "is_for_sentry",
    "is_unrecorded",
    "sample_rand",
    "undecided",
    "unrecorded",
    "verdict_of",
    "with_sample_rand",
    "with_sentry_decision",
]
