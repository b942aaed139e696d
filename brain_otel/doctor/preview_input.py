"""Reads what ``brain-otel mask`` gets, piece by piece: a document, an envelope, or texts of a few whole lines."""

import codecs
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from brain_otel.doctor.envelope_parts import parsed, read_envelope
from brain_otel.runtime.text import CHUNK, MAX_TEXT, beginning, in_chunks, omitted

MAX_DOCUMENT = 64 * 1024 * 1024
"""Bytes of the largest JSON document and of the largest envelope, which are read whole."""

_READ = 65_536
"""Bytes that are read at once."""

_MAX_LINE = 1 << 20
"""Bytes of a line that are kept; a text of one line is cut to :data:`~brain_otel.runtime.text.MAX_TEXT` later."""

_LONGEST_WORD = 16
"""Characters at the end of half a document in which its syntax may seem wrong: a number, a word, an escape."""

_GZIP = b"\x1f\x8b"
_CONTINUATIONS = bytes(range(0x80, 0xC0))
"""Bytes of UTF-8 that begin no character."""


class Text(NamedTuple):
    """Some lines, or one that is longer than :data:`~brain_otel.runtime.text.CHUNK`."""

    text: str
    is_cut: bool = False
    """Whether the line was too long to be kept."""


class Document(NamedTuple):
    """A JSON document; of several, each has a line."""

    data: Any
    is_alone: bool


class Envelope(NamedTuple):
    """The parts of an envelope."""

    parts: list[Any]


class InputError(Exception):
    """The input is compressed and broken, or has too much in one document."""


class Input:
    """A file or the standard input, read piece by piece."""

    def __init__(self, source: BinaryIO) -> None:
        self.is_cut_off = False
        """Whether the compressed input ends too early, known once it is read."""
        self._source = iter(lambda: source.read(_READ), b"")

    def __iter__(self) -> Iterator[Text | Document | Envelope]:
        """The input in pieces; reads no more than it must to know what the next one is.

        Raises:
            InputError: The input cannot be read.
        """
        pieces = _as_utf8(filter(None, self._decompressed()))
        start = next(pieces, b"").removeprefix(codecs.BOM_UTF8)
        head, _, rest = start.partition(b"\n")
        has_documents = isinstance(parsed(head), dict) and bool(rest.strip())
        is_envelope = read_envelope(start) is not None
        if is_envelope or (not has_documents and _may_be_json(start)):
            whole = _read_whole(chain([start], pieces))
            data = read_envelope(whole) if is_envelope else parsed(_text_of(whole))
            if isinstance(data, (dict, list)):
                yield Envelope(data) if is_envelope and isinstance(data, list) else Document(data, is_alone=True)
                return
            has_documents = isinstance(parsed(whole.partition(b"\n")[0]), dict)
            parts: Iterator[bytes] = (whole[place : place + _READ] for place in range(0, len(whole), _READ))
        else:
            parts = iter([start])
        yield from _lines(_blocks(chain(parts, pieces), MAX_DOCUMENT if has_documents else _MAX_LINE), has_documents)

    def _decompressed(self) -> Iterator[bytes]:
        """The content; files of gzip may stand one after the other."""
        given = next(self._source, b"")
        while given.startswith(_GZIP):
            stream = zlib.decompressobj(wbits=31)
            while not stream.eof and given:
                try:
                    yield stream.decompress(given, _READ)
                except zlib.error as error:
                    raise InputError(f"the input is compressed and broken ({error})") from None
                given = stream.unconsumed_tail or (b"" if stream.eof else next(self._source, b""))
            self.is_cut_off = not stream.eof
            given = (stream.unused_data or next(self._source, b"")).lstrip(b"\0")  # archives are filled up
        yield given
        yield from self._source


def _as_utf8(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """UTF-16 as UTF-8; other encodings stay."""
    start = next(pieces, b"")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    elif len(start) > 1 and (start[0] == 0) != (start[1] == 0) and start.count(0) * 3 > len(start):
        name = "utf-16-be" if start[0] == 0 else "utf-16-le"
    else:
        yield start
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(name)("replace")
    for piece in chain([start], pieces):
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


def _may_be_json(start: bytes) -> bool:
    """Whether a JSON document may begin with ``start``, whose end is missing if there is more."""
    text = start.decode("utf-8", "replace")
    if not text.lstrip().startswith(("{", "[")):
        return len(start) < _READ  # a number is a document too
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos > len(text) - _LONGEST_WORD or error.msg.startswith("Unterminated")
    except (ValueError, RecursionError):
        return True
    return True


def _read_whole(pieces: Iterable[bytes]) -> bytes:
    whole = bytearray()
    for piece in pieces:
        whole += piece
        if len(whole) > MAX_DOCUMENT:
            raise InputError(
                f"the input is a document of more than {MAX_DOCUMENT:,} bytes; allowed: a smaller one, or one a line"
            )
    return bytes(whole)


def _blocks(pieces: Iterator[bytes], longest: int) -> Iterator[Text]:
    """Whole lines; of one that is longer than ``longest`` bytes the beginning, and how much was left out."""
    kept, dropped = bytearray(), 0
    for piece in pieces:
        if dropped:
            line, sign, rest = piece.partition(b"\n")
            dropped += _characters(line)
            if not sign:
                continue
            yield _cut(kept, dropped)
            kept, dropped, piece = bytearray(), 0, rest
        end = piece.rfind(b"\n") + 1
        if end:
            yield Text(_text_of(bytes(kept + piece[:end])))
            kept = bytearray(piece[end:])
        else:
            kept += piece
        if len(kept) > longest:
            whole = len(kept[:longest].rstrip(_CONTINUATIONS)) - 1  # of characters
            dropped = _characters(kept[whole:])
            del kept[whole:]
    if kept:
        yield _cut(kept, dropped) if dropped else Text(_text_of(bytes(kept)))


def _characters(data: bytes | bytearray) -> int:
    return len(data.translate(None, _CONTINUATIONS))


def _cut(line: bytearray, dropped: int) -> Text:
    text = _text_of(bytes(line))
    begin = beginning(text, MAX_TEXT)
    return Text(f"{begin}{omitted(len(text) - len(begin) + dropped)}\n", is_cut=True)


def _lines(blocks: Iterator[Text], has_documents: bool) -> Iterator[Text | Document]:
    """Texts of a few lines, and the documents in lines of their own."""
    for block in blocks:
        if block.is_cut:
            yield block
            continue
        others: list[str] = []
        for line in block.text.splitlines(keepends=True) if has_documents else ():
            data = parsed(line) if line.startswith("{") else None
            if isinstance(data, dict):
                yield from map(Text, in_chunks("".join(others), CHUNK))
                yield Document(data, is_alone=False)
                others = []
            else:
                others.append(line)
        yield from map(Text, in_chunks("".join(others) if has_documents else block.text, CHUNK))


def _text_of(data: bytes) -> str:
    """``data`` as text: UTF-8, and Latin 1 in lines that are not."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\n".join(map(_line_of, data.split(b"\n")))


def _line_of(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("utf-8", "replace") if b"\0" in line else line.decode("latin-1")
