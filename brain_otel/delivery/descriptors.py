"""Open files that belong to this process alone.

A lock of ``flock`` belongs to the open file, which a forked child shares: one that outlived its parent would go on
holding the parent's locks, and nobody could send, drop or remove any more. So a child lets go of them.
"""

from __future__ import annotations

import os
from contextlib import suppress

_owned: dict[int, tuple[int, int]] = {}
"""Which file each is, for a number may be another file's by now."""


def own(descriptor: int) -> int:
    """Have ``descriptor`` closed in forked children; it is given back."""
    status = os.fstat(descriptor)
    _owned[descriptor] = status.st_dev, status.st_ino
    return descriptor


def let_go(descriptor: int) -> None:
    """Close what was owned; never raises."""
    _owned.pop(descriptor, None)
    with suppress(OSError):
        os.close(descriptor)


def _close_in_child() -> None:
    for descriptor, identity in list(_owned.items()):
        with suppress(OSError):
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) == identity:
                os.close(descriptor)
    _owned.clear()


os.register_at_fork(after_in_child=_close_in_child)
