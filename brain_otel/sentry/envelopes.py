"""Masks the items of an envelope that no ``before_send`` sees: attachments, sessions and profiles.

See https://develop.sentry.dev/sdk/data-model/envelope-items/.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sentry_sdk.envelope import Envelope, Item, PayloadRef

from brain_otel.privacy import Policy, policy
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.text import MAX_TEXT

MaskItem = Callable[[Item, Policy], Item]


def masked_envelope(envelope: Envelope) -> Envelope:
    """``envelope`` with those items masked, and without an item that cannot be; itself if it has none of them."""
    if _MASKS.keys().isdisjoint(item.type for item in envelope.items):
        return envelope
    by = policy()
    items = []
    for item in envelope.items:
        with guarded("masking an item of an envelope, which is dropped"):
            items.append(_MASKS[item.type](item, by) if item.type in _MASKS else item)
    return Envelope(headers=envelope.headers, items=items)


def _mask_attachment(item: Item, by: Policy) -> Item:
    """An attachment with its file's name masked, and its content if that is a text; a long text line by line."""
    headers = {**item.headers, "filename": by.text(str(item.headers.get("filename", "")))}
    data = item.get_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Item(data, headers)
    parts = [text] if len(text) <= MAX_TEXT else text.splitlines(keepends=True)
    return Item("".join(map(by.text, parts)), headers)


def _mask_session(item: Item, by: Policy) -> Item:
    """A session, or several as numbers, without the user's address unless personal data may leave."""
    session = dict(item.payload.json or {})
    attributes = session.get("attrs") or {}
    session["attrs"] = by.value(
        {name: value for name, value in attributes.items() if name != "ip_address" or by.send_default_pii}
    )
    if "did" in session:  # the user's id
        session["did"] = by.text(str(session["did"]))
    return _with_json(item, session)


def _mask_profile(item: Item, by: Policy) -> Item:
    """A profile with the files of its frames and the names of its threads masked."""
    made: Any = item.payload.json
    profile = made["profile"]
    frames = [
        {**frame, **{key: by.text(frame[key]) for key in ("filename", "abs_path") if isinstance(frame.get(key), str)}}
        for frame in profile["frames"]
    ]
    threads = {
        number: {**thread, "name": by.text(str(thread.get("name")))}
        for number, thread in profile["thread_metadata"].items()
    }
    return _with_json(item, {**made, "profile": {**profile, "frames": frames, "thread_metadata": threads}})


def _with_json(item: Item, data: dict[str, Any]) -> Item:
    return Item(PayloadRef(json=data), item.headers)


_MASKS: Mapping[str | None, MaskItem] = MappingProxyType(
    {
        "attachment": _mask_attachment,
        "profile": _mask_profile,
        "profile_chunk": _mask_profile,
        "session": _mask_session,
        "sessions": _mask_session,
    }
)
