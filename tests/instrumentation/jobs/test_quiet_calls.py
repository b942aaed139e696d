"""A queue's own commands make no spans."""

import asyncio
import types

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from brain_otel.instrumentation.jobs.quiet_calls import quiet_calls, quietened, suppressed
from brain_otel.runtime.patch import replace
from brain_otel.testing import Telemetry


def test_nothing_is_instrumented_in_the_block(telemetry: Telemetry) -> None:
    """The current span stays, and so does the context afterwards."""
    with otel_trace.get_tracer("test").start_as_current_span("around") as span:
        before = otel_context.get_current()
        with quiet_calls():
            with quiet_calls():
                assert not is_instrumentation_enabled()
            assert not is_instrumentation_enabled()
            assert otel_trace.get_current_span() is span
        assert otel_context.get_current() is before
    assert is_instrumentation_enabled()


def test_a_context_is_suppressed_without_being_current() -> None:
    context = suppressed()
    assert is_instrumentation_enabled()
    token = otel_context.attach(context)
    assert not is_instrumentation_enabled()
    otel_context.detach(token)


def test_functions_and_coroutine_functions_are_quietened() -> None:
    """Until the patch is undone."""

    def call() -> bool:
        return is_instrumentation_enabled()

    async def call_async() -> bool:
        await asyncio.sleep(0)
        return is_instrumentation_enabled()

    owner = types.SimpleNamespace(call=call, call_async=call_async)
    patches = [replace(owner, name, quietened) for name in ("call", "call_async")]
    replaced = owner.call, owner.call_async
    assert (replaced[0](), asyncio.run(replaced[1]())) == (False, False)
    for patch in patches:
        patch.undo()
    assert (replaced[0](), asyncio.run(replaced[1]())) == (True, True)
    assert owner.call is call
