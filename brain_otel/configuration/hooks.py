"""The functions that the application passes to ``setup()``: its mask, and its filters of Sentry events."""

from collections.abc import Callable
from typing import Any

from brain_otel.runtime.named_tuple import NamedTuple

Filter = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None]


class Hooks(NamedTuple):
    """The application's functions; None if it gave none."""

    mask: Callable[[str, Any], Any] | None = None
    before_send: Filter | None = None
    before_send_transaction: Filter | None = None

    def any(self) -> bool:
        """Whether the application gave any function."""
        return any((self.mask, self.before_send, self.before_send_transaction))


class _Current:
    hooks = Hooks()


def hooks() -> Hooks:
    """The hooks in use."""
    return _Current.hooks


def configure_hooks(hooks: Hooks) -> None:
    """Use ``hooks``."""
    _Current.hooks = hooks
