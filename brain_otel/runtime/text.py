"""Text that UTF-8 can encode, of bounded length, and text for a terminal."""

MAX_TEXT = 32_768
"""Characters of a log record's text and of each attribute.

Queues count records: without this bound a service that logs large bodies fills the memory during an outage.
"""


def encodable(text: str) -> str:
    """``text`` with at most :data:`MAX_TEXT` characters, and with escapes for lone surrogates.

    A longer text loses its middle. One lone surrogate, for example in a file name from ``os.listdir``, would cost the
    exporter its whole batch.
    """
    if len(text) > MAX_TEXT:
        half = MAX_TEXT // 2
        text = f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """``text`` with escapes for all that is not printable: a terminal would act on it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
