"""A process in which the interpreter starts no more threads."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from brain_otel.runtime import threads


@pytest.fixture
def no_new_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A context in which starting a thread fails, as it does at the exit of Python 3.12 and later."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    @contextmanager
    def refused() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(threads._Daemon, "start", refuse)
            yield

    return refused
