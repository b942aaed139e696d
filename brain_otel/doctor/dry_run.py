"""Destinations that are created, so that a wrong option shows, and then send nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brain_otel.configuration.settings import Settings

if TYPE_CHECKING:
    from brain_otel.destinations.isolation import IsolatedDestination


def create_silent_destinations(settings: Settings) -> tuple[IsolatedDestination, ...]:
    """Create every destination of ``settings``, shut it down and return a silent one in its place.

    Raises:
        ConfigurationError: an option of a destination is wrong.
    """
    from brain_otel.sdk.pipeline import create_destinations, discard_destinations

    created = create_destinations(settings)
    discard_destinations(created)
    return tuple(_silent(each) for each in created)


def _silent(stopped: IsolatedDestination) -> IsolatedDestination:
    from brain_otel.destinations.destination import Destination
    from brain_otel.destinations.isolation import IsolatedDestination

    destination = Destination(name=stopped.name, flush=lambda _timeout: True, shutdown=lambda _timeout: None)
    silent = IsolatedDestination(destination, stopped.index)
    silent.metric_exporter = stopped.metric_exporter  # a metric reader needs one; a stopped one drops what it gets
    return silent
