"""Which process of a service this is: ``service.instance.id``, which no two workers share.

See https://opentelemetry.io/docs/specs/semconv/resource/service/#service-instance. OpenTelemetry's SDK gives a forked
child an id of its own, but where it is configured by a file it gives the first process none; and what the user has
given, or has been masked, is undone in the child.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource, ServiceInstanceIdResourceDetector

from brain_otel.privacy import policy
from brain_otel.privacy.attributes import masked_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import TracerProvider


def set_instance_id(provider: TracerProvider, others: Sequence[Any]) -> None:
    """Give the resource that all providers share this process's id, and mask what is private in it.

    An id that the file or a variable gives stays: it is the user's to make it unique.
    """
    own = ServiceInstanceIdResourceDetector().detect().attributes[SERVICE_INSTANCE_ID]
    given = provider.resource.attributes.get(SERVICE_INSTANCE_ID, own)
    attributes = {**provider.resource.attributes, SERVICE_INSTANCE_ID: given}
    # ``_attributes`` is where a resource keeps them; a test tells when that changes.
    provider.resource._attributes = _Masked(attributes)  # type: ignore[assignment]  # read as any mapping
    alive = [weakref.ref(each) for each in (provider, *others)]
    users_id = {} if given == own else {SERVICE_INSTANCE_ID: given}
    # A hook of its own: it runs after those of OpenTelemetry's providers, which give each one a new resource.
    os.register_at_fork(after_in_child=lambda: _set_child_instance_id([each() for each in alive], users_id))


class _Masked(Mapping[str, Any]):
    """Attributes that are masked when they are first read, so that set-up does not wait for it."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._policy, self._given = policy(), attributes

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        return masked_attributes(self._policy, self._given)

    def __getitem__(self, key: str) -> Any:
        return self._attributes[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def copy(self) -> dict[str, Any]:
        """A copy, as a resource asks of its attributes to hash itself."""
        return self._attributes.copy()


def _set_child_instance_id(providers: Sequence[Any], users_id: dict[str, Any]) -> None:
    """After OpenTelemetry's own hooks, which were registered before: each provider has a resource of its own now."""
    if providers[0] is None:
        return
    attributes = masked_attributes(policy(), {**providers[0].resource.attributes, **users_id})
    for each in providers:
        if each is not None:
            each._update_resource(Resource(attributes))  # what its own hook calls; a test tells when that changes
