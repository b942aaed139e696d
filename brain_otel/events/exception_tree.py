"""Walks an exception, its causes and the members of its groups without recursion, however deep they are."""

from collections.abc import Iterator

from brain_otel.runtime.named_tuple import NamedTuple

MAX_EXCEPTIONS = 50
"""Exceptions of one tree that are reported."""


class Node(NamedTuple):
    """One exception of a tree."""

    error: BaseException
    parent: int
    """The position of the parent among the nodes, 0 for the root."""
    source: str | None
    """How the parent refers to it, in Sentry's form; None for the root."""


def exceptions_in(root: BaseException) -> Iterator[Node]:
    """Each exception once, its cause or context first, then the members of a group."""
    waiting = [Node(root, 0, None)]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node.error) in seen:
            continue
        position = len(seen)
        seen.add(id(node.error))
        yield node
        if isinstance(node.error, BaseExceptionGroup):
            members = list(enumerate(node.error.exceptions[:MAX_EXCEPTIONS]))
            waiting += [Node(each, position, f"exceptions[{index}]") for index, each in reversed(members)]
        name = "__cause__" if node.error.__suppress_context__ else "__context__"
        other = getattr(node.error, name)
        if other is not None:
            waiting.append(Node(other, position, name))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """``error`` itself, or the exceptions in a group that are no groups."""
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(reversed(each.exceptions))
        else:
            yield each
