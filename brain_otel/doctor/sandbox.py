"""A set-up that sends nothing: while an application is looked at, its destinations are made and not used."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from brain_otel.configuration.settings import Settings
    from brain_otel.destinations.isolation import IsolatedDestination


def silence() -> None:
    """Have ``setup()`` make every destination, so that what is wrong with one shows, and use none of them."""

    def wiring_imported(wiring: Any) -> None:
        wrapped = wiring.create_destinations

        def create_destinations(settings: Settings) -> tuple[IsolatedDestination, ...]:
            created = wrapped(settings)
            wiring.give_up(created)
            return tuple(_silent(each) for each in created)

        wiring.create_destinations = create_destinations

    wrapt.register_post_import_hook(wiring_imported, "brain_otel.sdk.pipeline")


def _silent(given_up: IsolatedDestination) -> IsolatedDestination:
    """One of its name that takes nothing; a reader of metrics still has its exporter, which drops all of it."""
    from brain_otel.destinations.destination import Destination
    from brain_otel.destinations.isolation import IsolatedDestination

    destination = Destination(name=given_up.name, flush=lambda _timeout: True, shutdown=lambda _timeout: None)
    silent = IsolatedDestination(destination, given_up.index)
    silent.metric_exporter = given_up.metric_exporter
    return silent


def without_launcher(variables: dict[str, str]) -> bool:
    """Take out of PYTHONPATH the folder by which ``opentelemetry-instrument`` sets up at the interpreter's start.

    Returns whether it was there: then the inspection sets up itself, once it has seen to it that nothing is sent.
    """
    found = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    folder = Path(found.origin).parent if found is not None and found.origin else None
    paths = variables.get("PYTHONPATH", "").split(os.pathsep)
    kept = [each for each in paths if not each or Path(each) != folder]
    if len(kept) == len(paths):
        return False
    variables["PYTHONPATH"] = os.pathsep.join(kept)
    return True


def launch() -> None:
    """Do what ``opentelemetry-instrument`` does in a process that it starts, which is too early to be silent."""
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    initialize()
