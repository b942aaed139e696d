"""Every private name of another package that `brain_otel/sampling` depends on."""

from tests.support import ROOT
from tests.support.private_names import PrivateName
from tests.support.private_uses import private_uses

PRIVATE_NAMES = (
    PrivateName(
        name="opentelemetry.trace.span.TraceState._dict",
        used_in=("brain_otel/sampling/trace_context.py",),
        purpose="puts keys of level 2 into a trace state, whose constructor takes those of level 1",
        pinned_by="tests/sampling/test_trace_context.py::test_a_trace_state_keeps_keys_of_level_2",
    ),
)


def test_the_table_has_every_name() -> None:
    """Found in the source: attributes, imports and texts that begin with an underscore and are not our own."""
    found = private_uses((ROOT / "brain_otel" / "sampling").rglob("*.py")).keys()
    assert found <= {each.identifier for each in PRIVATE_NAMES}
