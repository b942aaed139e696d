"""Texts as UTF-8 can hold them, and of bounded length."""

from __future__ import annotations

MAX_TEXT = 32_768
"""Characters of a log record's text and of each attribute; of a longer one both ends are kept. Queues count records,
so without it a service that logs large bodies could fill the memory while nobody takes them."""


def encodable(text: str) -> str:
    """``text``, no longer than :data:`MAX_TEXT`, with what UTF-8 cannot hold (half a surrogate pair) written out.

    One such string, for example a file name from ``os.listdir``, would cost the exporter's whole batch.
    """
    if len(text) > MAX_TEXT:
        half = MAX_TEXT // 2
        text = f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
