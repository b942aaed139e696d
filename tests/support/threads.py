"""A stand-in for an interpreter that starts no more threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from brain_otel.runtime import threads


@contextmanager
def no_new_threads() -> Iterator[None]:
    """Make each start of a thread of ours fail, as at the exit of Python 3.12 and later."""

    def fail(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads._Daemon, "start", fail)
        yield
