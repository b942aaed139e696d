"""Has the SDK's tracer start spans below a recorded one as our instrumentations do: without asking and checking.

They are the spans of the application, and of libraries that somebody else's instrumentation observes. Whatever is
unusual (a local root, links, a start time, values that are no texts and numbers) is left to the tracer, and so is a
client's span where the sampler is one that notes its server.
"""

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Span, SpanKind

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.fast_span import create_below
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.sampling.head import HeadSampler

_TEXT = frozenset({str})


class TracerInstrumentation:
    """Observes the SDK's tracer; ``patches`` gets the patch."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches

    def instrument(self, settings: InstrumentationSettings) -> None:  # noqa: ARG002
        """Begin with the next span."""
        patch_tracer(self._patches)

    def uninstrument(self) -> None:
        """Leave the tracer as it was found."""
        self._patches.undo()


def patch_tracer(patches: Patches) -> None:
    """Have the SDK's tracer start the spans of the application and of other libraries in the same way."""
    patches.replace(Tracer, "start_span", _start_span)


def _start_span(patch: Patch) -> Callable[..., Span]:
    original = patch.original

    @functools.wraps(original)
    def start_span(
        self: Any,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Any = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        if (
            not links
            and start_time is None
            and record_exception
            and set_status_on_exception
            and patch.active
            and (kind is not SpanKind.CLIENT or type(getattr(self, "sampler", None)) is HeadSampler)
            and (not attributes or _has_plain_keys(attributes))
        ):
            around = otel_context.get_current() if context is None else context
            span = create_below(self, name, kind, dict(attributes or ()), around)
            if span is not None:
                self.span_processor.on_start(span, parent_context=context)
                return span
        options = attributes, links, start_time, record_exception, set_status_on_exception
        slow: Span = original(self, name, context, kind, *options)
        return slow

    return start_span


def _has_plain_keys(attributes: Any) -> bool:
    return type(attributes) is dict and _TEXT.issuperset(map(type, attributes)) and "" not in attributes
