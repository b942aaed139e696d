"""Every private name of another package that `brain_otel/sampling` depends on."""

import pytest

from tests.support.private_names import PrivateName

PRIVATE_NAMES = (
    PrivateName(
        name="opentelemetry.trace.span.TraceState._dict",
        used_in=("brain_otel/sampling/trace_context.py",),
        purpose="puts keys of level 2 into a trace state, whose constructor takes those of level 1",
        pinned_by="tests/sampling/test_trace_context.py::test_a_trace_state_keeps_keys_of_level_2",
    ),
)


@pytest.mark.parametrize("entry", PRIVATE_NAMES, ids=lambda entry: entry.identifier)
def test_upstream_has_the_name(entry: PrivateName) -> None:
    """So an entry of the table that is out of date fails."""
    assert entry.exists()
