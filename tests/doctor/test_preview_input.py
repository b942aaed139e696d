"""Tests of the pieces in which ``brain-otel mask`` reads its input."""

import gzip
import io
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pytest

from brain_otel.doctor import preview_input
from brain_otel.doctor.preview import Preview
from brain_otel.doctor.preview_input import Document, Envelope, Input, InputError, Text
from brain_otel.runtime.text import CHUNK, LEFT_OUT, MAX_TEXT
from tests.destinations.service import settings


class Endless(io.RawIOBase):
    """A file that repeats a text; it counts what was read of it."""

    def __init__(self, unit: bytes, times: int) -> None:
        self._left = unit * (preview_input._READ // len(unit) + 1)
        self._times = times
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        self.count += 1
        return self._left[:size] if self.count <= self._times else b""


def pieces(data: bytes) -> list[Any]:
    return list(Input(io.BytesIO(data)))


@pytest.mark.parametrize(
    "unit",
    [b"login 7, token=t1\n", b"[2026-11-29] token=t1\n", b'{"token": "%s"}\n' % (b"t1" * 999), b"one line only "],
    ids=["text", "text like JSON", "JSON lines", "one line"],
)
def test_an_input_of_any_length_needs_the_memory_of_one_piece(unit: bytes) -> None:
    """What is read comes out before more is read, or is dropped if it is one long line."""
    source = Endless(unit, 120)  # 8 MB
    seen = ahead = 0
    tracemalloc.start()
    for each in Input(cast("BinaryIO", source)):
        seen += len(each.text if isinstance(each, Text) else unit)
        ahead = max(ahead, source.count * preview_input._READ - seen)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000
    assert source.count == 121
    assert unit == b"one line only " or ahead <= 3 * preview_input._READ


def test_a_line_that_is_too_long_is_cut_and_counted() -> None:
    """The next line is whole; the number is that of the characters."""
    line = "é word " * 300_000
    first, second = pieces(f"{line}\ntoken=t1\n".encode())
    assert first.is_cut
    left = int(first.text.rpartition(" ... ")[2].removesuffix(f"{LEFT_OUT}\n"))
    assert len(first.text.partition(" ... ")[0]) + left == len(line)
    assert len(first.text) < MAX_TEXT + 64
    assert second == Text("token=t1\n")
    shown = Preview(io.BytesIO(f"{line}\ntoken=t1\n".encode()), settings())
    assert list(shown)[1] == "token=[Filtered]"
    assert {rule: places.first for rule, places in shown.places.items()} == {
        "length": ["line 1"],
        "assignments": ["line 2"],
    }


def test_texts_are_of_whole_lines() -> None:
    """Joined, they are the input, whatever is in it and however it is read."""
    text = "".join(f"{number} {'é' * (number % 90)}\n" for number in range(6_000))
    for encoding in ("utf-8", "utf-16", "utf-16-le"):
        found = pieces(text.encode(encoding))
        assert "".join(each.text for each in found) == text
        assert all(each.text.endswith("\n") and len(each.text) <= CHUNK for each in found)
    assert "".join(each.text for each in pieces(gzip.compress(text.encode()))) == text


def test_documents_stand_alone_or_one_in_a_line() -> None:
    """Lines between them are texts; a line is a document however long it is."""
    assert pieces(b'{"a": 1}\n') == [Document({"a": 1}, is_alone=True)]
    assert pieces(b"[\n1,\n2]") == [Document([1, 2], is_alone=True)]
    long = {"a": "x" * 2_000_000}
    lines = [json.dumps(long), "started", "ready", '{"b": 2}', "{broken", '{"c"']
    assert pieces("\n".join(lines).encode()) == [
        Document(long, is_alone=False),
        Text("started\nready\n"),
        Document({"b": 2}, is_alone=False),
        Text("{broken\n"),
        Text('{"c"'),
    ]
    assert pieces(b'{"a": 1}\n{"a": 2}') == [Document({"a": each}, is_alone=False) for each in (1, 2)]


def test_an_envelope_is_read_whole() -> None:
    """Its items may be binary, and their lines longer than a piece."""
    event = json.dumps({"event_id": "a" * 32, "message": "x" * 1_500_000})
    data = b'{"event_id": "' + b"a" * 32 + b'"}\n{"type": "event"}\n' + event.encode()
    (found,) = pieces(data + b'\n{"type": "attachment", "length": 3}\n\0\xff\n')
    assert isinstance(found, Envelope)
    assert found.parts[2:] == [json.loads(event), {"type": "attachment", "length": 3}, "<3 bytes>"]


@pytest.mark.parametrize("start", [b'{"a": [', b'["', b'{"event_id": "a"}\n{"type": "event"}\n{"a": "'])
def test_a_document_that_is_too_large_is_an_error(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is allowed, and no more than that is read."""
    monkeypatch.setattr(preview_input, "MAX_DOCUMENT", 200_000)
    units = itertools.chain([start], itertools.repeat(b"12345678" * 4_096))

    class Source:
        def read(self, _: int) -> bytes:
            return next(units)

    with pytest.raises(InputError, match="200,000 bytes; allowed: a smaller one, or one a line"):
        list(cast("Iterator[Any]", Input(cast("BinaryIO", Source()))))
