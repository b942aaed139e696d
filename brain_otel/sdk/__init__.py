"""OpenTelemetry's SDK, set up and joined to the destinations."""

from importlib.util import find_spec

from brain_otel.runtime.imports import LateModule, without_module

# The SDK asks psutil for the owner of the process, where the file has the detector `process`. Its import takes 7 ms.
with without_module("psutil"):
    from opentelemetry.sdk import resources

if resources.psutil is None and find_spec("psutil") is not None:
    resources.psutil = LateModule("psutil")
