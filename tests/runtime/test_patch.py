"""Tests of patches: undoing one restores what it replaced."""

import inspect

from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from brain_otel.runtime.patch import replace
from tests.instrumentation.target import start_target
from tests.support import ROOT
from tests.support.process import run_python


def test_an_inherited_method_is_inherited_again_after_undo() -> None:
    """A static method of the base class stays static."""

    class Above:
        @staticmethod
        def named() -> str:
            return "above"

    class Below(Above):
        pass

    patch = replace(Below, "named", lambda _: staticmethod(lambda: "replaced"))
    assert Below().named() == "replaced"
    patch.undo()
    assert "named" not in vars(Below)
    assert Below().named() == "above"


def test_a_methods_raw_attribute_is_restored() -> None:
    """The class gets its static method object back, not the function that `getattr` returns."""

    class Own:
        @staticmethod
        def named() -> str:
            return "own"

    held = inspect.getattr_static(Own, "named")
    replace(Own, "named", lambda _: staticmethod(lambda: "replaced")).undo()
    assert inspect.getattr_static(Own, "named") is held


SCRIPT = """
import os
import brain_otel, httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
brain_otel.setup()
brain_otel.shutdown()
exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
HTTPXClientInstrumentor().instrument(tracer_provider=provider)
with httpx.Client(trust_env=False, verify=False) as client:
    print(client.get(os.environ["TARGET"]).status_code, [span.name for span in exporter.get_finished_spans()])
"""


def test_contrib_traces_httpx_after_shutdown() -> None:
    """Our patches of its wrappers are undone."""
    assert isinstance(inspect.getattr_static(HTTPXClientInstrumentor, "_handle_request_wrapper"), staticmethod)
    with start_target() as target:
        done = run_python(SCRIPT, {"TARGET": target.url, "ENVIRONMENT": "test"}, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "200 ['GET']"
