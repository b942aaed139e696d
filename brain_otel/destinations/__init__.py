"""Where telemetry goes: one module or folder a destination. Another package's destination imports ``Destination``."""

from brain_otel.destinations.destination import Destination, DestinationModule

__all__ = ["Destination", "DestinationModule"]
