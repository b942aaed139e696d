"""OpenTelemetry sends a stack trace as text; its frames are read back, for Python and JavaScript."""

import re
from typing import Any

MAX_TEXT = 200_000

_PYTHON = re.compile(
    r'^ {2}File "([^"\n]{1,500})", line (\d{1,9}), in ([^\n]{1,300})\n(?: {4}([^\n]{0,500}))?', re.MULTILINE
)
_JAVASCRIPT = re.compile(r"^ {4}at (?:([^\n(]{1,300}) \()?([^\n()]{1,500}):(\d{1,9}):\d{1,9}\)?$", re.MULTILINE)
_CHAINED = ("The above exception was the direct cause", "During handling of the above exception")


def frames_of_text(text: str) -> list[dict[str, Any]]:
    """The frames in Sentry's form, the last one is where it was raised; none if the text is of another language."""
    text = text[-MAX_TEXT:]
    for mark in _CHAINED:
        text = text.rpartition(mark)[2]
    frames = [
        {
            "abs_path": file,
            "filename": file,
            "lineno": int(line),
            "function": function,
            "context_line": source or None,
        }
        for file, line, function, source in _PYTHON.findall(text)
    ]
    if frames:
        return frames
    return [
        {"abs_path": file, "filename": file, "lineno": int(line), "function": function or None}
        for function, file, line in reversed(_JAVASCRIPT.findall(text))
    ]
