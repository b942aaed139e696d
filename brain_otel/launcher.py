"""The distro and configurator of ``opentelemetry-instrument``: ``setup()`` without a change to the code.

The launcher takes the first distro and the first configurator that it finds, in no particular order, unless
``OTEL_PYTHON_DISTRO`` and ``OTEL_PYTHON_CONFIGURATOR`` name one. If ``opentelemetry-distro`` is installed too, there
are three cases:

- Both are ours: nothing else to do.
- Only the configurator is ours: we remove the variables that the other distro sets (``OTEL_TRACES_EXPORTER=otlp``),
  which would replace the file's destinations, and keep it from instrumenting a library a second time.
- The configurator is not ours: the other one sets telemetry up, with every instrumentor, and one log line says how to
  choose ours.
"""

import logging
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # contrib has no types

from brain_otel import telemetry
from brain_otel.configuration.error import ConfigurationError
from brain_otel.runtime.guard import guarded

logger = logging.getLogger(__name__)

HOW_TO_CHOOSE = "set OTEL_PYTHON_DISTRO=brain_otel and OTEL_PYTHON_CONFIGURATOR=brain_otel"

OUR_COMMAND = "brain-otel"
"""The program that observes nothing of itself: ``opentelemetry-instrument brain-otel doctor`` checks others."""

_DISTRO_DEFAULTS = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
)
"""Variables that ``opentelemetry-distro`` sets if the user has not."""


class BrainOtelDistro(BaseDistro):  # type: ignore[misc]  # contrib has no types
    """The distro: leaves all instrumentors to ``setup()``, which enables each when its library is imported."""

    def _configure(self, **kwargs: Any) -> None:
        """Do nothing: the configurator reads the settings."""

    def load_instrumentor(self, entry_point: EntryPoint, **kwargs: Any) -> None:
        """Activate an instrumentor if another configurator set telemetry up."""
        if not BrainOtelConfigurator.called:
            super().load_instrumentor(entry_point, **kwargs)


class BrainOtelConfigurator:
    """The configurator: ``setup()``, or one log line that says why not. The application runs either way."""

    called = False
    """Whether the launcher has called this configurator, successfully or not."""

    def configure(self, **kwargs: Any) -> None:  # noqa: ARG002 - the launcher passes its version
        """Set telemetry up from the environment."""
        BrainOtelConfigurator.called = True
        if Path(*sys.orig_argv[1:2]).name == OUR_COMMAND:
            return
        with guarded("looking for another distro"):
            if _other_distros():
                _remove_distro_defaults()
        with guarded("setting up"):
            try:
                telemetry.setup_by_launcher()
            except ConfigurationError as error:
                logger.error("brain_otel is not set up, the application runs without telemetry: %s", error)


def before_instrumentors() -> None:
    """Keep other distros from loading instrumentors; the launcher calls this before it loads them.

    It is the entry point of the group ``opentelemetry_pre_instrument``.
    """
    with guarded("looking for another distro"):
        if not BrainOtelConfigurator.called:
            logger.warning("Another OpenTelemetry configurator is in charge, not brain_otel; %s", HOW_TO_CHOOSE)
        elif telemetry.is_set_up():
            for distro in _other_distros():
                distro.load_instrumentor = _load_nothing
                logger.info("%s and brain_otel are both installed; brain_otel is in charge", type(distro).__name__)


def _other_distros() -> list[Any]:
    """The distros that the launcher has created, without ours."""
    kinds = [kind for kind in BaseDistro.__subclasses__() if kind is not BrainOtelDistro]
    return [kind._instance for kind in kinds if isinstance(kind._instance, kind)]


def _remove_distro_defaults() -> None:
    """Remove the variables that another distro has set, not those that the user has.

    Only the process's initial environment tells the two apart, since the other distro may run before any code of
    ours; Linux shows it in ``/proc/self/environ``, and elsewhere the variables stay.
    """
    try:
        lines = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return
    initial = {os.fsdecode(line.partition(b"=")[0]) for line in lines}
    for name in _DISTRO_DEFAULTS:
        if name in os.environ and name not in initial:
            logger.info("Ignoring %s=%s, which another distro has set", name, os.environ.pop(name))


def _load_nothing(entry_point: EntryPoint, **kwargs: Any) -> None:
    """Stand for the method of a distro that loads an instrumentor, which ``setup()`` has done."""
