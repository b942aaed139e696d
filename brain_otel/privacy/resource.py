"""The resource and the instrumentation scope of spans, log records and metrics as they may leave the process."""

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.policy import Policy
from brain_otel.runtime.text import encodable

_MAX_SCOPES = 256


class _Latest:
    """The resource that was masked last, which all telemetry of a process has, and scopes by their identity."""

    masked: tuple[Policy, Resource, Resource] | None = None
    scopes: dict[int, tuple[Policy, InstrumentationScope, InstrumentationScope]] = {}  # noqa: RUF012 - the one holder


def masked_resource(policy: Policy, resource: Resource) -> Resource:
    """``resource`` with its private attributes masked, or the same object if there is nothing to mask."""
    latest = _Latest.masked
    if latest is None or latest[0] is not policy or latest[1] is not resource:
        masked = masked_attributes(policy, resource.attributes)
        is_same = masked == dict(resource.attributes)
        copy = resource if is_same else Resource(masked, resource.schema_url)
        latest = _Latest.masked = (policy, resource, copy)
    return latest[2]


def masked_scope(policy: Policy, scope: InstrumentationScope) -> InstrumentationScope:
    """``scope`` masked, with texts that fit into UTF-8, or the same object if there is nothing to change.

    A logger's name is the name of its scope, and an application chooses it.
    """
    known = _Latest.scopes.get(id(scope))
    if known is None or known[0] is not policy or known[1] is not scope:
        if len(_Latest.scopes) >= _MAX_SCOPES:
            _Latest.scopes.clear()
        known = _Latest.scopes[id(scope)] = (policy, scope, _masked_scope(policy, scope))
    return known[2]


def _masked_scope(policy: Policy, scope: InstrumentationScope) -> InstrumentationScope:
    given = scope.name, scope.version, scope.schema_url
    texts = [each if each is None else encodable(policy.text(each)) for each in given]
    attributes = masked_attributes(policy, scope.attributes or {})
    if tuple(texts) == given and attributes == dict(scope.attributes or {}):
        return scope
    name, version, schema_url = texts
    return InstrumentationScope(name or "", version, schema_url, attributes)
