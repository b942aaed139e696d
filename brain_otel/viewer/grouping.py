"""Which events are one issue: the given fingerprint, else type and in-app frames, else the message's template."""

import hashlib
import re
from collections.abc import Iterator

from brain_otel.viewer.rows import Json, object_at, objects_in

DEFAULT = re.compile(r"\{\{\s*default\s*\}\}")
MAX_FRAMES = 50
MAX_EXCEPTIONS = 10

_VARIABLE = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"  # a UUID
    r"|0x[0-9a-fA-F]+"
    r"|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b"  # a hash
    r"|\d+(?:[.:,-]\d+)*"
    r"|'[^'\n]{0,200}'|\"[^\"\n]{0,200}\""
)
_FOREIGN = re.compile(r"site-packages|dist-packages|node_modules|/lib/python\d|<frozen |^node:")


def group_of(event: Json) -> str:
    """The key of the event's issue."""
    given = event.get("fingerprint")
    if isinstance(given, list) and given:
        parts = []
        for part in map(str, given[:20]):
            parts += _default_parts(event) if DEFAULT.fullmatch(part.strip()) else [part]
        return _key("fingerprint" if parts != _default_parts(event) else "default", parts)
    return _key("default", _default_parts(event))


def _key(kind: str, parts: list[str]) -> str:
    return hashlib.blake2b("\0".join([kind, *parts]).encode("utf-8", "replace"), digest_size=12).hexdigest()


def _default_parts(event: Json) -> list[str]:
    exceptions = exceptions_of(event)
    if not exceptions:
        return ["message", template_of(message_of(event, template=True))]
    parts: list[str] = []
    for each in exceptions[-MAX_EXCEPTIONS:]:
        frames = list(_places(each))
        parts += ["exception", str(each.get("type") or ""), *frames]
        if not frames:
            parts.append(template_of(str(each.get("value") or "")))
    return parts


def _places(exception: Json) -> Iterator[str]:
    """File and function of the in-app frames; of all frames if none is."""
    frames = frames_of(exception)
    own = [each for each in frames if is_in_app(each)] or frames
    before = None
    for frame in own[-MAX_FRAMES:]:
        file = str(frame.get("abs_path") or frame.get("filename") or frame.get("module") or "")
        name = file.replace("\\", "/").rpartition("/")[2].partition("?")[0]
        place = f"{name}:{frame.get('function') or ''}"
        if place != before:  # recursion of another depth is the same issue
            yield place
        before = place


def exceptions_of(event: Json) -> list[Json]:
    """The event's exceptions; the last one is the one that was raised last."""
    return objects_in(event.get("exception"))


def frames_of(exception: Json) -> list[Json]:
    """The frames of an exception; the last one is where it was raised."""
    return objects_in(object_at(exception, "stacktrace").get("frames"))


def is_in_app(frame: Json) -> bool:
    """Whether the frame is the application's: as the SDK says, else by its path."""
    said = frame.get("in_app")
    if isinstance(said, bool):
        return said
    return _FOREIGN.search(str(frame.get("abs_path") or frame.get("filename") or "")) is None


def message_of(event: Json, *, template: bool = False) -> str:
    """The event's message; with ``template``, before its parameters were filled in."""
    entry = event.get("logentry")
    if isinstance(entry, dict):
        names = ("message", "formatted") if template else ("formatted", "message")
        return next((str(entry[name]) for name in names if entry.get(name)), "")
    message = event.get("message")
    if isinstance(message, dict):
        return str(message.get("formatted") or message.get("message") or "")
    return str(message or "")


def template_of(message: str) -> str:
    """The first line of the message, with what varies replaced."""
    return _VARIABLE.sub("*", message[:2_000].partition("\n")[0])


def title_of(event: Json) -> str:
    """The line that stands for the event in a list."""
    if exceptions := exceptions_of(event):
        last = exceptions[-1]
        value = str(last.get("value") or "").partition("\n")[0]
        return f"{last.get('type') or 'Error'}: {value}" if value else str(last.get("type") or "Error")
    return message_of(event).partition("\n")[0] or "(no message)"
