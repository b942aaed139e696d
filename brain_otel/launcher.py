"""What ``opentelemetry-instrument`` runs: the same set-up as ``setup()``, with no change to the code.

The launcher takes the first distro and the first configurator that it finds among the installed packages, in no
certain order, unless ``OTEL_PYTHON_DISTRO`` and ``OTEL_PYTHON_CONFIGURATOR`` name one. With ``opentelemetry-distro``
installed as well, three things can happen. Both are ours: fine. The configurator is ours and the distro is not: what
the other has put into the environment (``OTEL_TRACES_EXPORTER=otlp``) is taken out again, since it would replace the
file's destinations, and it is kept from instrumenting a second time what we instrument. The configurator is not ours:
telemetry is set up as the other one likes, with every instrumentor whichever the distro, and one log line says how to
choose ours.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # contrib has no types

from brain_otel import telemetry
from brain_otel.configuration.error import ConfigurationError
from brain_otel.instrumentation import LIBRARIES
from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util._importlib_metadata import EntryPoint

logger = logging.getLogger(__name__)

HOW_TO_CHOOSE = "set OTEL_PYTHON_DISTRO=brain_otel and OTEL_PYTHON_CONFIGURATOR=brain_otel"

_CHOICES = ("OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL")
"""What ``opentelemetry-distro`` sets where the user has not."""


class BrainOtelDistro(BaseDistro):  # type: ignore[misc]  # contrib has no types
    """The distro: leaves the libraries that brain_otel instruments itself to it."""

    def _configure(self, **kwargs: Any) -> None:
        """Nothing to prepare: the settings are read where they are used."""

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Activate an instrumentor that is not one of ours; any, where another configurator is in charge."""
        if not BrainOtelConfigurator.called or (telemetry.is_set_up() and entry_point.name not in LIBRARIES):
            super().load_instrumentor(entry_point, **kwargs)


class BrainOtelConfigurator:
    """The configurator: ``setup()``, or one log line saying why not; the application runs either way."""

    called = False
    """Whether the launcher has chosen this configurator, be it that it succeeded or not."""

    def configure(self, **kwargs: Any) -> None:  # noqa: ARG002 - the launcher's version, of no use here
        """Set up as the environment says."""
        BrainOtelConfigurator.called = True
        with guarded("looking for another distro"):
            if _others():
                _forget_their_defaults()
        with guarded("setting up"):
            try:
                telemetry.setup_by_launcher()
            except ConfigurationError as error:
                logger.error("brain_otel is not set up, the application runs without telemetry: %s", error)


def before_instrumentors() -> None:
    """Run by the launcher before any distro's instrumentors (entry point ``opentelemetry_pre_instrument``)."""
    with guarded("looking for another distro"):
        if not BrainOtelConfigurator.called:
            logger.warning("Another OpenTelemetry configurator is in charge, not brain_otel; %s", HOW_TO_CHOOSE)
        elif telemetry.is_set_up():
            _restrain_others()


def _others() -> list[Any]:
    """The distros that the launcher has made, without ours."""
    kinds = [kind for kind in BaseDistro.__subclasses__() if kind is not BrainOtelDistro]
    return [kind._instance for kind in kinds if isinstance(kind._instance, kind)]


def _forget_their_defaults() -> None:
    """Take out of the environment what this process was not started with.

    Only Linux tells what that was; elsewhere the variables stay.
    """
    try:
        lines = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return
    given = {os.fsdecode(line.partition(b"=")[0]) for line in lines}
    for name in _CHOICES:
        if name in os.environ and name not in given:
            logger.info("%s=%s is another distro's, and ignored", name, os.environ.pop(name))


def _restrain_others() -> None:
    for other in _others():
        other.load_instrumentor = _without_ours(other.load_instrumentor)
        logger.info("%s and brain_otel are both installed; brain_otel is in charge", type(other).__name__)


def _without_ours(load: Callable[..., None]) -> Callable[..., None]:
    def load_instrumentor(entry_point: EntryPoint, **kwargs: Any) -> None:
        if entry_point.name not in LIBRARIES:
            load(entry_point, **kwargs)

    return load_instrumentor
