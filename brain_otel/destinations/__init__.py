"""Where telemetry goes: one module or folder a destination. Other packages import ``Destination`` from here."""

from brain_otel.destinations.destination import Destination, DestinationModule

__all__ = ["Destination", "DestinationModule"]
