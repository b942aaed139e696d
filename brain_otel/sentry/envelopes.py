"""Masks the items of an envelope that no ``before_send`` sees: attachments, sessions and profiles; types feedback.

See https://develop.sentry.dev/sdk/data-model/envelope-items/.
"""

import contextvars
from collections.abc import Callable, Mapping
from typing import Any

from sentry_sdk.envelope import Envelope, Item, PayloadRef

from brain_otel.privacy import Policy, policy
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.text import CHUNK, in_chunks
from brain_otel.sentry.before_send import mask
from brain_otel.sentry.feedback import FEEDBACK, type_feedback

_EVENTS = frozenset({"event", "transaction", "check_in", FEEDBACK})


def masked_envelope(envelope: Envelope) -> Envelope:
    """``envelope`` with those items masked, and without an item that cannot be; itself if it has none of them."""
    type_feedback(envelope)
    if _MASKS.keys().isdisjoint(item.type for item in envelope.items):
        return envelope
    by = policy()
    items = []
    for item in envelope.items:
        with guarded("masking an item of an envelope, which is dropped"):
            items.append(_masked(item, by) if item.type in _MASKS else item)
    return Envelope(headers=envelope.headers, items=items)


def masked_content(kind: str, content: Any, by: Policy) -> Any:
    """The content of an item of an envelope, a JSON document or bytes, as it would leave; for ``brain-otel mask``."""
    if kind in _EVENTS and isinstance(content, dict):
        return mask(content, by)
    return _MASKS[kind](content, by) if kind in _MASKS else by.value(content)


def _masked(item: Item, by: Policy) -> Item:
    content = item.payload.json
    masked = _MASKS[item.type](item.get_bytes() if content is None else content, by)
    headers = dict(item.headers)
    if "filename" in headers:
        headers["filename"] = by.text(str(headers["filename"]))
    return Item(masked if isinstance(masked, bytes) else PayloadRef(json=masked), headers)


def _mask_attachment(content: Any, by: Policy) -> Any:
    """An attachment, masked if it is a text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content
    # In a context of its own: the texts of an event share a budget, and an attachment is not cut.
    return "".join(contextvars.Context().run(by.text, part) for part in in_chunks(text, CHUNK)).encode()


def _mask_session(content: Any, by: Policy) -> Any:
    """A session, or several as numbers, without the user's address unless personal data may leave."""
    session = dict(content)
    attributes = session.get("attrs") or {}
    session["attrs"] = by.value(
        {name: value for name, value in attributes.items() if name != "ip_address" or by.send_default_pii}
    )
    if "did" in session:  # the user's id
        session["did"] = by.text(str(session["did"]))
    return session


def _mask_profile(content: Any, by: Policy) -> Any:
    """A profile with the files of its frames and the names of its threads masked."""
    profile = content["profile"]
    frames = [
        {**frame, **{key: by.text(frame[key]) for key in ("filename", "abs_path") if isinstance(frame.get(key), str)}}
        for frame in profile["frames"]
    ]
    threads = {
        number: {**thread, "name": by.text(str(thread.get("name")))}
        for number, thread in profile["thread_metadata"].items()
    }
    return {**content, "profile": {**profile, "frames": frames, "thread_metadata": threads}}


_MASKS: Mapping[str | None, Callable[[Any, Policy], Any]] = {
    "attachment": _mask_attachment,
    "profile": _mask_profile,
    "profile_chunk": _mask_profile,
    "session": _mask_session,
    "sessions": _mask_session,
}
