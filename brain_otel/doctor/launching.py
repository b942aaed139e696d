"""An application under ``opentelemetry-instrument``: the launcher works before anything can be observed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


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
