"""A set-up that sends nothing: while an application is looked at, its destinations are made and not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from brain_otel.destinations.isolation import InUse
    from brain_otel.settings import Settings


def silence() -> None:
    """Have ``setup()`` make every destination, so that what is wrong with one shows, and use none of them."""

    def wiring_imported(wiring: Any) -> None:
        wrapped = wiring.create_destinations

        def create_destinations(settings: Settings) -> tuple[InUse, ...]:
            created = wrapped(settings)
            wiring.give_up(created)
            return tuple(_silent(each) for each in created)

        wiring.create_destinations = create_destinations

    wrapt.register_post_import_hook(wiring_imported, "brain_otel.wiring")


def _silent(given_up: InUse) -> InUse:
    """One of its name that takes nothing; a reader of metrics still has its exporter, which drops all of it."""
    from brain_otel.destinations import Destination
    from brain_otel.destinations.isolation import InUse

    destination = Destination(name=given_up.name, flush=lambda _timeout: True, shutdown=lambda _timeout: None)
    silent = InUse(destination, given_up.index)
    silent.metric_exporter = given_up.metric_exporter
    return silent
