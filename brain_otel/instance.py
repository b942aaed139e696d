"""Which process of a service this is: ``service.instance.id``, which no two workers share.

A server that loads the application before it forks (gunicorn's ``--preload``) makes the resource once for all of its
workers; each gets an id of its own here. See
https://opentelemetry.io/docs/specs/semconv/resource/service/#service-instance.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, ServiceInstanceIdResourceDetector

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


def identify(resource: Resource) -> None:
    """Give ``resource``, which all providers share, this process's id, and each forked child's copy another.

    One that the file or a variable gives stays: it is the user's to make it unique.
    """
    own = _own_id()
    if resource.attributes.get(SERVICE_INSTANCE_ID, own) != own:
        return
    _give(resource, own)
    alive = weakref.ref(resource)
    os.register_at_fork(after_in_child=lambda: _identify_child(alive()))


def _identify_child(resource: Resource | None) -> None:
    if resource is not None:
        _give(resource, _own_id())


def _own_id() -> str:
    """A random one; OpenTelemetry's detector makes one for each process."""
    return str(ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID])


def _give(resource: Resource, instance: str) -> None:
    # ``_attributes`` is where a resource keeps them; a test tells when that changes.
    resource._attributes = BoundedAttributes(attributes={**resource.attributes, SERVICE_INSTANCE_ID: instance})
