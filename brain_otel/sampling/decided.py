"""A decision taken before there is a span, where a request is received: one that nobody records then costs little.

OpenTelemetry's tracer gives a span its trace id and then asks the sampler. What was decided for an id beforehand has
to be found by both: the id generator gives that very id, and the sampler that very verdict.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.id_generator import IdGenerator

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from brain_otel.sampling.verdict import Verdict

_decided: ContextVar[tuple[int, Verdict] | None] = ContextVar("brain_otel.sampling.decided", default=None)


class decided_as:  # noqa: N801 - a context manager, as a class because it is cheaper
    """While the block lasts, a root span that starts here has ``trace_id`` and is recorded as ``verdict`` says."""

    __slots__ = ("_given", "_token")

    def __init__(self, trace_id: int, verdict: Verdict) -> None:
        self._given = (trace_id, verdict)

    def __enter__(self) -> None:
        self._token: Token[tuple[int, Verdict] | None] = _decided.set(self._given)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        _decided.reset(self._token)


def verdict_for(trace_id: int) -> Verdict | None:
    """What was decided for ``trace_id`` beforehand, else None."""
    decided = _decided.get()
    return decided[1] if decided is not None and decided[0] == trace_id else None


class DecidedIds(IdGenerator):
    """The ids of another generator, but for a trace that has been decided on under its id."""

    def __init__(self, inner: IdGenerator) -> None:
        self._inner = inner
        self.generate_span_id = inner.generate_span_id  # type: ignore[method-assign]  # nothing to do for it here

    def generate_span_id(self) -> int:
        """The other's."""
        return self._inner.generate_span_id()

    def generate_trace_id(self) -> int:
        """The decided one, or a new one."""
        decided = _decided.get()
        return self._inner.generate_trace_id() if decided is None else decided[0]

    def is_trace_id_random(self) -> bool:
        """Whether the other's are: https://www.w3.org/TR/trace-context-2/#random-trace-id-flag."""
        return self._inner.is_trace_id_random()
