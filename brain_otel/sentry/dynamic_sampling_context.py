"""The dynamic sampling context: what a trace tells Sentry and the next service about itself.

It is made once, at the head of a trace, and does not change after it was first handed on; one that came from
outside is frozen and passed on as it came:
https://develop.sentry.dev/sdk/telemetry/traces/dynamic-sampling-context/
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import sentry_sdk
from opentelemetry import context as otel_context
from sentry_sdk.integrations.opentelemetry.consts import SENTRY_BAGGAGE_KEY
from sentry_sdk.tracing_utils import Baggage

from brain_otel.sampling.decision import decision_of, is_for_sentry, sample_rand
from brain_otel.traces.conventions import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext
    from sentry_sdk.client import BaseClient

    from brain_otel.traces.local_trace import LocalTrace

_KEPT = "sentry.dynamic_sampling_context"

_known: tuple[Callable[[], BaseClient | None], dict[str, str]] = (lambda: None, {})
"""A client, and what is the same in the sampling context of each of its traces."""


def sampling_context_of(trace: LocalTrace) -> dict[str, str]:
    """The sampling context of ``trace``, made and frozen at the first call; empty before its root started."""
    keep_reason = trace.extras.get(_KEPT)
    if keep_reason is not None:
        return dict(keep_reason)
    root = trace.span_context()
    if root is None:
        return {}
    if trace.parent is not None and _same_trace(trace.parent, root):
        made = sampling_context_of(trace.parent)
    else:
        made = create_sampling_context(root, trace.context, _route_name(trace))
    trace.extras[_KEPT] = made
    return dict(made)


def create_sampling_context(
    span: SpanContext, context: Context | None, transaction: str | None = None
) -> dict[str, str]:
    """The sampling context of the trace of ``span``: the caller's if ``context`` holds one, else a new one.

    Sentry's rules make a caller that sent ``sentry-trace`` without ``baggage`` the owner of an empty one.
    """
    decision = decision_of(span)
    baggage = otel_context.get_value(SENTRY_BAGGAGE_KEY, context)
    if isinstance(baggage, Baggage):
        items = dict(baggage.sentry_items)
        if items and decision is not None and decision.decided_here:  # the caller left it to us
            items |= {"sampled": _word(decision.sentry), "sample_rate": str(decision.rate)}
        return items
    client = sentry_sdk.get_client()
    if not client.is_active():
        return {}
    rate = client.options.get("traces_sample_rate") if decision is None else decision.rate
    made = {
        "trace_id": f"{span.trace_id:032x}",
        "sample_rand": f"{sample_rand(span.trace_id) if decision is None else decision.rand:.6f}",
        "sampled": _word(is_for_sentry(span)),
    }
    if rate is not None:
        made["sample_rate"] = str(rate)
    made |= _same_for_all(client)
    if transaction:
        made["transaction"] = transaction
    return made


def _same_for_all(client: BaseClient) -> dict[str, str]:
    """What every trace of ``client`` says: it is asked for with each call that a request makes."""
    global _known
    if _known[0]() is not client:
        same = {name: str(client.options[name]) for name in ("environment", "release") if client.options.get(name)}
        if client.parsed_dsn is not None:
            same["public_key"] = str(client.parsed_dsn.public_key)
            if client.parsed_dsn.org_id:
                same["org_id"] = str(client.parsed_dsn.org_id)
        _known = (weakref.ref(client), same)
    return _known[1]


def kept_context_of(trace: LocalTrace) -> dict[str, str]:
    """The sampling context for the transaction of ``trace``: of one that is always kept there are no others."""
    items = sampling_context_of(trace)
    decision = decision_of(trace.span_context())
    if items and decision is not None and decision.keep_reason is not None:
        items |= {"sampled": "true", "sample_rate": "1.0"}
    return items


def _word(value: bool) -> str:
    return "true" if value else "false"


def _same_trace(trace: LocalTrace, root: SpanContext) -> bool:
    context = trace.span_context()
    return context is not None and context.trace_id == root.trace_id


def _route_name(trace: LocalTrace) -> str | None:
    """The trace's name unless it is a raw path, which would be of no use to group by."""
    name = name_of(trace)
    return name.text if name is not None and name.source != "url" else None
