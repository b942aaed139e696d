"""The resource of spans, log records and metrics as it may leave the process."""

from opentelemetry.sdk.resources import Resource

from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.policy import Policy


class _Latest:
    """The resource that was masked last. All telemetry of a process has the same one."""

    masked: tuple[Policy, Resource, Resource] | None = None


def masked_resource(policy: Policy, resource: Resource) -> Resource:
    """``resource`` with its private attributes masked, or the same object if there is nothing to mask."""
    latest = _Latest.masked
    if latest is None or latest[0] is not policy or latest[1] is not resource:
        masked = masked_attributes(policy, resource.attributes)
        is_same = masked == dict(resource.attributes)
        copy = resource if is_same else Resource(masked, resource.schema_url)
        latest = _Latest.masked = (policy, resource, copy)
    return latest[2]
