"""Keeps what was made of keys that came again: a fast path of a service that does the same things over and over."""

from collections.abc import Callable, Hashable
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from brain_otel.privacy import Policy
from brain_otel.runtime.fast_paths import fast_paths_enabled

MAX_CACHED = 512
"""Cached entries; beyond it a new one takes the place of one that has not come again."""

MAX_SEEN = 4_096
"""Hashes of keys seen once; what is made of a key is cached when it is seen a second time."""

MAX_LENGTH = 2_048
"""Characters of all texts of a key."""


class _Kept(Protocol):
    came_again: bool
    """Whether it has been found since there was last a look for room. A new entry gets one turn."""


Kept = TypeVar("Kept", bound=_Kept)


class Repeats(Generic[Kept]):
    """Keeps what was made of keys that came again, as masked by one policy: a fast path."""

    def __init__(self, by: Policy) -> None:
        self.by = by
        self.is_used = fast_paths_enabled() and by.mask is None  # the application's mask may vary in its answers
        self._known: dict[Hashable, Kept] = {}
        self._seen: set[int] = set()

    def find(self, key: Hashable) -> Kept | None:
        """Return the entry of ``key``; None if it is not kept."""
        found = self._known.get(key)
        if found is not None:
            found.came_again = True
        return found

    def keep(self, key: tuple[Any, ...], make: Callable[[], Kept | None]) -> None:
        """Keep what ``make`` makes of ``key`` if it comes a second time, is short and there is room."""
        if self._should_keep(key) and (len(self._known) < MAX_CACHED or self._make_room()):
            made = make()
            if made is not None:
                self._known[key] = made

    def _make_room(self) -> bool:
        """Evict one of the two oldest entries, unless both were used since the last look.

        If the oldest always went, a service with more distinct spans than there is room for would find none again.
        """
        for key in list(islice(self._known, 2)):
            found = self._known.pop(key, None)  # a flush may run on another thread
            if found is None or not found.came_again:
                return True
            found.came_again = False
            self._known[key] = found
        return False

    def _should_keep(self, key: tuple[Any, ...]) -> bool:
        mark = hash(key)
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return False
        return sum(len(each) for each in key if type(each) is str) <= MAX_LENGTH
