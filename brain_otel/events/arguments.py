"""Bounds the arguments of the helpers before anything looks at them: a text of 60 MB, a mapping without end.

An argument's text is what ``str()`` writes, made on this thread without telemetry (``runtime/safe_repr``).
"""

from typing import Any

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.safe_repr import facts as facts_of
from brain_otel.runtime.safe_repr import safe_repr
from brain_otel.runtime.text import MAX_TEXT, beginning, shortened

MAX_NAME = 512
"""Characters of the name of a tag, a context or a user's fact."""


def facts(data: Any) -> dict[str, Any]:
    """The first names and values of a mapping, see :func:`~brain_otel.runtime.safe_repr.facts`; empty if that fails.

    What they belong to is sent nevertheless.
    """
    if data is not None and not (type(data) is dict and not data):
        with guarded("reading the arguments of a call"):
            return facts_of(data)
    return {}


def text_of(value: Any) -> str:
    """``value`` as a text of at most :data:`~brain_otel.runtime.text.MAX_TEXT` characters."""
    return shortened(value if type(value) is str else safe_repr(value, str), MAX_TEXT)


def name_of_fact(value: Any) -> str:
    """``value`` as the name of a fact."""
    return beginning(text_of(value), MAX_NAME)
