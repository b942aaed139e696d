"""The dynamic sampling context: what a trace tells Sentry and the next service about itself.

It is made once, at the head of a trace, and frozen when it is first handed on. A context that came from outside is
frozen from the start and handed on unchanged:
https://develop.sentry.dev/sdk/telemetry/traces/dynamic-sampling-context/
"""

from collections.abc import Mapping
from functools import lru_cache

import sentry_sdk
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext
from sentry_sdk.integrations.opentelemetry.consts import SENTRY_BAGGAGE_KEY
from sentry_sdk.tracing_utils import Baggage

from brain_otel.privacy import Policy, policy
from brain_otel.sampling.decision import decision_of, is_for_sentry, sample_rand
from brain_otel.sentry.event_size import encode
from brain_otel.traces.conventions import name_of
from brain_otel.traces.local_trace import LocalTrace

_EXTRAS_KEY = "sentry.dynamic_sampling_context"

_PER_TRACE = ("trace_id", "sample_rand")
"""Members that differ between the traces of an endpoint."""


def sampling_context_of(trace: LocalTrace) -> dict[str, str]:
    """The sampling context of ``trace``, made and frozen at the first call; empty before its root started."""
    known = trace.extras.get(_EXTRAS_KEY)
    if known is not None:
        return dict(known)
    root = trace.span_context()
    if root is None:
        return {}
    around = trace.parent.span_context() if trace.parent is not None else None
    if trace.parent is not None and around is not None and around.trace_id == root.trace_id:
        made = sampling_context_of(trace.parent)
    else:
        made = create_sampling_context(root, trace.context, _route_name(trace))
    trace.extras[_EXTRAS_KEY] = made
    return dict(made)


def create_sampling_context(
    span: SpanContext, context: Context | None, transaction: str | None = None
) -> dict[str, str]:
    """The sampling context of the trace of ``span``: the caller's if ``context`` holds one, else a new one.

    By Sentry's rules, a caller that sent ``sentry-trace`` without ``baggage`` owns an empty one.
    """
    decision = decision_of(span)
    baggage = otel_context.get_value(SENTRY_BAGGAGE_KEY, context)
    if isinstance(baggage, Baggage):
        items = dict(baggage.sentry_items)
        if items and decision is not None and decision.decided_here:  # the caller left the decision to us
            items |= {"sampled": _word(decision.sentry), "sample_rate": str(decision.rate)}
        return items
    client = sentry_sdk.get_client()
    if not client.is_active():
        return {}
    options = client.options
    rate = options.get("traces_sample_rate") if decision is None else decision.rate
    made = {
        "trace_id": f"{span[0]:032x}",
        "sample_rand": f"{sample_rand(span[0]) if decision is None else decision.rand:.6f}",
        "sampled": _word(is_for_sentry(span)),
    }
    if rate is not None:
        made["sample_rate"] = str(rate)
    made |= {name: str(options[name]) for name in ("environment", "release") if options.get(name)}
    dsn = client.parsed_dsn
    if dsn is not None:
        made["public_key"] = str(dsn.public_key)
        if dsn.org_id:
            made["org_id"] = str(dsn.org_id)
    if transaction:
        made["transaction"] = policy().text(transaction)  # it leaves in headers to every service that is called
    return made


def transaction_context_of(trace: LocalTrace) -> dict[str, str]:
    """The sampling context for the transaction of ``trace``.

    A transaction that is always kept stands for itself alone, so its rate is 1.
    """
    items = sampling_context_of(trace)
    decision = decision_of(trace.span_context())
    if items and decision is not None and decision.keep_reason is not None:
        items |= {"sampled": "true", "sample_rate": "1.0"}
    return items


def context_json(items: Mapping[str, str]) -> str:
    """A masked sampling context; searching secrets in numbers that no other trace has would cost the most."""
    parts, names = [], dict(items)
    for name in _PER_TRACE:
        value = items.get(name)
        if value is not None and value.replace(".", "").isalnum():
            parts.append(f'"{name}":"{names.pop(name)}"')
    if names:
        by = policy()
        known = _names_json if by.mask is None else _names_json.__wrapped__
        parts.append(known(by, *names, *names.values()))
    return f"{{{','.join(parts)}}}"


@lru_cache(maxsize=256)
def _names_json(by: Policy, *names_and_values: str) -> str:
    """The members that all traces of an endpoint share, without braces."""
    half = len(names_and_values) // 2
    return encode(by.value(dict(zip(names_and_values[:half], names_and_values[half:], strict=True))))[1:-1]


def continues(items: Mapping[str, str]) -> bool:
    """Whether a trace with the sampling context ``items`` may be continued: not if it is another organization's.

    By sentry-sdk's rules and its options ``org_id`` and ``strict_trace_continuation``:
    https://develop.sentry.dev/sdk/telemetry/traces/#stricttracecontinuation
    With the strict option, a project's key that is not ours counts as another organization.
    """
    own, theirs = _organization(), items.get("org_id")
    if own is not None and theirs is not None:
        return own == theirs
    client = sentry_sdk.get_client()
    is_strict = client.parsed_dsn is not None and bool(client.options.get("strict_trace_continuation"))
    return not is_strict or (own is None and theirs is None and is_ours(items))


def is_ours(items: Mapping[str, str]) -> bool:
    """Whether ``items`` are from our project or organization, so that they may stand in our envelopes."""
    key = items.get("public_key")
    dsn = sentry_sdk.get_client().parsed_dsn if key is not None else None
    if dsn is None or key == dsn.public_key:
        return True
    own = _organization()
    return own is not None and own == items.get("org_id")


def _organization() -> str | None:
    """The organization that the DSN's host or the option ``org_id`` names."""
    dsn = sentry_sdk.get_client().parsed_dsn
    return str(dsn.org_id) if dsn is not None and dsn.org_id else None


def _word(value: bool) -> str:
    return "true" if value else "false"


def _route_name(trace: LocalTrace) -> str | None:
    """The trace's name, None for a raw path: grouping by it would be useless."""
    name = name_of(trace)
    return name.text if name is not None and name.source != "url" else None
