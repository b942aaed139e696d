"""The shipper's own process, as the application starts it: ends with the last user of the directory."""

from __future__ import annotations

import logging
import os
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from brain_otel.delivery.spool.directory import is_empty, locked
from brain_otel.delivery.spool.shipper import ship_until_stopped
from brain_otel.delivery.spool.shipper_process import USERS

if TYPE_CHECKING:
    import threading

    from brain_otel.delivery.spool.shipper import Shipper

LOG = "ship.log"
LOG_BYTES = 2**20

GRACE = 5.0
"""Seconds for which what is left is sent when the last user has gone; the rest waits for the next."""

ELECTION = 3.0
"""Seconds after which one that has not got the lock leaves the directory to another."""


def main(directory: Path) -> None:
    """Send what lies in ``directory`` until nobody uses it any more."""
    _log_to(directory / LOG)
    with ship_until_stopped(directory) as (shipper, ended):
        _stay(directory, shipper, ended)


def _log_to(path: Path) -> None:
    """To a file: what a process inherits of an application's output, it would hold open after its end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.close(descriptor)
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, handlers=[handler])


def _stay(directory: Path, shipper: Shipper, ended: threading.Event) -> None:
    """Return when there is nothing left to stay for."""
    begun = time.monotonic()
    while not shipper.holds_lock:
        if ended.wait(0.05) or time.monotonic() - begun > ELECTION:
            return
    alone = 0.0
    while not ended.wait(0.2):
        try:
            with locked(directory / USERS) as is_alone:
                pass
        except OSError:
            return  # the directory has been removed, and with it what we were to send
        now = time.monotonic()
        alone = (alone or now) if is_alone else 0.0
        if alone and (is_empty(directory) or now - alone > GRACE) and now - begun > ELECTION:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # a request may be under way; its record stays
