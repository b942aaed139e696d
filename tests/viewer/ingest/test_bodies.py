"""Bodies are bounded before and after they are decompressed."""

import asyncio
import gzip
import zlib

import pytest
from starlette.requests import Request
from starlette.types import Message

from brain_otel.viewer.ingest import bodies
from brain_otel.viewer.ingest.bodies import MAX_BODY, BodyError, decompressed
from tests.support.viewer import RunningViewer, envelope

BOMB = gzip.compress(bytes(MAX_BODY + 1), 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (BOMB, 413),
        (gzip.compress(b"x" * 1_000)[:-9], 400),
        (b"no gzip", 400),
        (b"", 400),
    ],
    ids=["bomb", "cut", "text", "empty"],
)
def test_a_bad_body_is_rejected(body: bytes, status: int) -> None:
    with pytest.raises(BodyError) as caught:
        decompressed(body)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (gzip.compress(envelope([])), {"content-encoding": "gzip"}, 200),
        (zlib.compress(envelope([])), {"content-encoding": "deflate"}, 200),
        (envelope([]), {"content-encoding": "zstd"}, 415),
        (b"\0" * (MAX_BODY + 1), {}, 413),
        (BOMB, {"content-encoding": "gzip"}, 413),
        (b"{", {}, 400),
    ],
    ids=["gzip", "deflate", "unknown", "large", "bomb", "damaged"],
)
def test_the_answer_says_what_is_wrong(
    viewer: RunningViewer, body: bytes, headers: dict[str, str], status: int
) -> None:
    """And the viewer goes on."""
    assert viewer.post("/api/1/envelope/", content=body, headers=headers).status_code == status
    assert viewer.get("/issues").status_code == 200


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("unreachable")

    monkeypatch.setattr(bodies, "PATIENCE", 0.05)
    with pytest.raises(BodyError) as caught:
        asyncio.run(bodies.read_body(Request({"type": "http", "method": "POST", "headers": []}, receive)))
    assert caught.value.status == 408


def test_what_is_rejected_is_counted(viewer: RunningViewer) -> None:
    viewer.post("/stream", content=b"{")
    viewer.send()
    assert "other by the viewer: damaged" in viewer.get("/issues").text
