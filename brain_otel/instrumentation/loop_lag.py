"""Measures how late an event loop runs what is due: the metric ``brain_otel.event_loop.lag``, in seconds.

A handler that blocks makes every other request wait. The registry has no name for it. The metric has no attributes.
"""

import asyncio
from contextvars import Context
from time import perf_counter

from brain_otel.instrumentation.metrics import Durations, create_durations
from brain_otel.runtime.guard import guarded

INTERVAL = 0.25
"""Seconds between two looks."""


class LoopLag:
    """Looks at loops until it is stopped."""

    def __init__(self) -> None:
        self._durations: Durations | None = create_durations(
            __name__, "brain_otel.event_loop.lag", "How late the event loop runs what is due."
        )

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at ``loop`` from now on, if metrics are read."""
        if self._durations is not None:
            # An empty context: the current one would keep a request alive, and belongs to it.
            loop.call_later(INTERVAL, self._look, loop, perf_counter() + INTERVAL, context=Context())

    def stop(self) -> None:
        """Stop at the next look."""
        self._durations = None

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        with guarded("measuring the lag of an event loop"):
            if self._durations is not None:
                # A timer may come early by its clock's precision.
                self._durations.record(min(due, perf_counter()), {})
                self.watch(loop)
