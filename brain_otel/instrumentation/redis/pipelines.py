"""What a Redis pipeline is about to send."""

from typing import Any

import opentelemetry.instrumentation.redis as _package

from brain_otel.runtime.named_tuple import NamedTuple

_contrib: Any = _package
"""Its functions, looked up where contrib looks them up; it exports none of them."""


class Batch(NamedTuple):
    """The commands of a pipeline."""

    operation: str
    """``MULTI SET`` or ``PIPELINE SET``, without the command if there are several; of one command, the command."""
    text: str
    size: int


def batch_of(pipeline: Any) -> Batch | None:
    """The commands of ``pipeline``; None if it is empty, so that nothing is sent."""
    describe = getattr(_contrib, "_build_span_meta_data_for_pipeline", _without_contrib)
    stack, text, _ = describe(pipeline)
    if not stack:
        return None
    commands = {line.partition(" ")[0] for line in text.split("\n")}
    operation = commands.pop() if len(commands) == 1 else ""
    if len(stack) > 1:
        operation = f"{'MULTI' if _is_transaction(pipeline) else 'PIPELINE'} {operation}".rstrip()
    return Batch(operation, text, len(stack))


def _without_contrib(pipeline: Any) -> tuple[list[Any], str, str]:
    """The same of a contrib without that function: the names of the commands alone."""
    stack: Any = getattr(pipeline, "command_stack", ())
    commands = [getattr(each, "args", None) or each[0] for each in stack]
    return list(stack), "\n".join(str(args[0]).upper() for args in commands), ""


def _is_transaction(pipeline: Any) -> bool:
    """Whether a pipeline of any client sends ``MULTI``."""
    strategy = type(getattr(pipeline, "_execution_strategy", None)).__name__  # of a cluster's pipeline
    flags = (getattr(pipeline, name, False) for name in ("explicit_transaction", "transaction", "is_transaction"))
    return "Transaction" in strategy or any(flag is True for flag in flags)
