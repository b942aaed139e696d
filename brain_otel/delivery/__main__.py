"""The shipper's process, as an application starts it; ends with the last user of the directory."""

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from brain_otel.delivery.spool.directory import SHIPPER_LOG, USERS_LOCK, is_empty
from brain_otel.delivery.spool.files import is_shortage, open_file
from brain_otel.delivery.spool.locks import locked
from brain_otel.delivery.spool.shipper import Shipper, ship_until_stopped

LOG_BYTES = 2**20

GRACE = 5.0
"""Seconds to go on sending after the last user has ended; the next user's shipper sends the rest."""

ELECTION = 3.0
"""Seconds to wait for the shipper's lock; then the directory is left to the process that holds it."""


def main(directory: Path) -> None:
    """Send the records in ``directory`` until nobody uses it any more."""
    _log_to(directory / SHIPPER_LOG)
    with ship_until_stopped(directory) as (shipper, stopped):
        _stay(directory, shipper, stopped)


class _LogFile(RotatingFileHandler):
    """A log file that is opened as the spool's other files are."""

    def _open(self) -> TextIOWrapper:
        return open(open_file(Path(self.baseFilename), os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a", encoding="utf-8")  # noqa: PTH123 - a descriptor


def _log_to(path: Path) -> None:
    """Log to a file: the process would hold an inherited output of the application open after its end."""
    handler: logging.Handler = logging.NullHandler()
    with suppress(OSError):  # records are sent from a full disk, too
        handler = _LogFile(path, maxBytes=LOG_BYTES, backupCount=1)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, handlers=[handler])


def _stay(directory: Path, shipper: Shipper, stopped: threading.Event) -> None:
    """Return when there is no reason to go on."""
    started = time.monotonic()
    while not shipper.holds_lock:
        if stopped.wait(0.05) or time.monotonic() - started > ELECTION:
            return
    alone_since = 0.0
    while not stopped.wait(0.2):
        try:
            with locked(directory / USERS_LOCK) as is_alone:
                pass
            is_done = is_alone and is_empty(directory)
        except OSError as error:
            if is_shortage(error):
                continue
            return  # the directory was removed
        now = time.monotonic()
        alone_since = (alone_since or now) if is_alone else 0.0
        if alone_since and (is_done or now - alone_since > GRACE) and now - started > ELECTION:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # a request may be in flight; its record stays
