"""Text that UTF-8 can encode, of bounded length, and text for a terminal."""

from collections.abc import Iterator

MAX_TEXT = 32_768
"""Characters of a log record's text and of each attribute.

Queues count records: without this bound a service that logs large bodies fills the memory during an outage.
"""

CHUNK = 4_096
"""Characters of the parts in which a text of any length is masked as a whole; one text has a bound of secrets."""

MAX_SHORT = 256
"""Characters of a text that is short: it is shown and masked whatever is left of a budget."""

MIN_LONG = 512
"""Characters that stay of a long text if the budget of its event is used up."""

LEFT_OUT = " characters left out ..."
"""Follows a number in a text that was shortened."""

_MARK = 64
"""Characters of the longest note about what was left out."""

_SEPARATORS = " \n\t\"',;&<>()[]{}|"
_LONGEST_WORD = 2_048
"""Characters among which the beginning of a word is searched that a cut has torn."""


def word_set(text: str) -> frozenset[str]:
    """The words of a table, separated by white space."""
    return frozenset(text.split())


def encodable(text: str) -> str:
    """``text`` with at most :data:`MAX_TEXT` characters, and with escapes for lone surrogates.

    A longer text is :func:`shortened`. One lone surrogate, for example in a file name from ``os.listdir``, would cost
    the exporter its whole batch.
    """
    text = shortened(text, MAX_TEXT)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """``text`` with escapes for all that is not printable: a terminal would act on it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shortened(text: str, limit: int) -> str:
    """``text`` without its middle if it is longer than ``limit``, and how much was left out.

    The text is masked afterwards, so no part of a secret may stay that does not look like one. The first part loses a
    word that the cut has torn, and the second part begins with a line: without its name, a value is not known to be
    secret. A text of one line keeps its first part alone.
    """
    length = str.__len__(text)  # a subclass may load its text, or copy all of it
    if length <= limit or (length <= limit + _MARK and LEFT_OUT in text):  # it has been shortened to this limit
        return text
    line = str.find(text, "\n", length - limit // 2)
    end = str.__getitem__(text, slice(line, length)) if 0 <= line < length - limit // 4 else ""
    begin = beginning(text, limit // 2 if end else limit)
    return f"{begin}{omitted(length - len(begin) - len(end))}{end}"


def omitted(count: int) -> str:
    """The words in the place of ``count`` characters of a text."""
    return f" ... {count}{LEFT_OUT}"


def in_chunks(text: str, limit: int) -> Iterator[str]:
    """``text`` in parts of whole lines, each at most ``limit`` characters long; a longer line is one part."""
    start = 0
    while len(text) - start > limit:
        end = text.rfind("\n", start, start + limit) + 1 or text.find("\n", start + limit) + 1 or len(text)
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def beginning(text: str, limit: int) -> str:
    """At most ``limit`` characters of ``text``, without a word that the cut has torn.

    The beginning of one word alone stays: it tells whether the word is a secret.
    """
    if str.__len__(text) <= limit:
        return text
    text = str.__getitem__(text, slice(limit))
    place = max(text.rfind(each, max(0, limit - _LONGEST_WORD), limit) for each in _SEPARATORS)
    return text[: place + 1 if place >= 0 else limit]
