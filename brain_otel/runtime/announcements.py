"""Lines about the set-up, logged again when a server has started if nobody could see them before.

Applications often configure logging after ``setup()``, or never: uvicorn configures its own loggers only, and the
root logger shows warnings.
"""

import logging

OTHER_LOGGERS = ("uvicorn.error", "hypercorn.error", "gunicorn.error", "_granian")
"""Used where ours shows nothing: loggers for what a server says of its start."""

_TELEMETRY = ("opentelemetry", "brain_otel", "sentry_sdk")
"""Packages whose handlers show nothing to whoever starts the server."""


class _Unseen:
    def __init__(self) -> None:
        self.lines: list[tuple[logging.Logger, str, tuple[object, ...]]] = []


_unseen = _Unseen()


def announce(logger: logging.Logger, message: str, *arguments: object) -> None:
    """Log a line as information, and keep it for :func:`announce_again` if nobody sees it."""
    logger.info(message, *arguments)
    if not _shows(logger):
        _unseen.lines.append((logger, message, arguments))


def announce_again() -> None:
    """Log the lines that nobody has seen, once: a server has started, so logging is configured."""
    if not _unseen.lines:
        return
    lines, _unseen.lines = _unseen.lines, []
    for logger, message, arguments in lines:
        for each in (logger, *map(logging.getLogger, OTHER_LOGGERS)):
            if _shows(each):
                each.info(message, *arguments)
                break


def forget_announcements() -> None:
    """Keep no line."""
    _unseen.lines.clear()


def _shows(logger: logging.Logger) -> bool:
    """Whether somebody sees information that is logged there."""
    if not logger.isEnabledFor(logging.INFO):
        return False
    each: logging.Logger | None = logger
    while each is not None:
        if any(map(_is_seen, each.handlers)):
            return True
        each = each.parent if each.propagate else None
    return False


def _is_seen(handler: logging.Handler) -> bool:
    if isinstance(handler, logging.NullHandler) or type(handler).__module__.startswith(_TELEMETRY):
        return False
    return handler.level <= logging.INFO
