"""What the resource of a file gets besides: the version of the service, the id of this process, this package.

``service.instance.id`` is the id, which no two workers share.
See https://opentelemetry.io/docs/specs/semconv/resource/service/#service-instance. OpenTelemetry's SDK gives each
forked child a new id, but no id to a first process that a file configures; and it overwrites an id of the user's.
"""

import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_VERSION,
    Resource,
    ServiceInstanceIdResourceDetector,
)
from opentelemetry.sdk.trace import TracerProvider

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.version import __version__
from brain_otel.traces import scope


def completed_resource(resource: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    """The ``resource`` block of a file with ``version``, this process's id and this package; what is given stays."""
    attributes = list(resource.get("attributes") or ())
    pairs = str(resource.get("attributes_list") or "").split(",")
    names = {*(each["name"] for each in attributes), *(pair.partition("=")[0].strip() for pair in pairs)}
    own = {
        SERVICE_INSTANCE_ID: ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID],
        "telemetry.distro.name": scope.NAME,
        "telemetry.distro.version": __version__,
    }
    attributes += [{"name": name, "value": value} for name, value in own.items() if name not in names]
    if version is not None and not any(each["name"] == SERVICE_VERSION for each in attributes):
        attributes.append({"name": SERVICE_VERSION, "value": version})
    return {**resource, "attributes": attributes}


def keep_given_instance_id(provider: TracerProvider, others: Sequence[Any]) -> None:
    """Have forked children keep an id that the user gives; making it unique is up to the user."""
    own = ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID]
    given = provider.resource.attributes.get(SERVICE_INSTANCE_ID, own)
    if given != own:
        providers = [weakref.ref(each) for each in (provider, *others)]
        # This hook runs after those of the providers, which give each of them a new id.
        os.register_at_fork(after_in_child=lambda: _set_instance_id([each() for each in providers], given))


def _set_instance_id(providers: Sequence[Any], given: Any) -> None:
    for each in providers:
        if each is not None:
            with guarded("keeping the instance id in a forked child"):
                each._update_resource(Resource({SERVICE_INSTANCE_ID: given}))
