"""Opens, reads and replaces the files of a spool; no other module does.

A folder may hold what somebody else has put there, or what a crash or a copy has left. Each file is opened relative
to the descriptor of its folder, without following a link and without waiting for a pipe. It must be a regular file of
the folder's owner. To write, the folder must be ours, and nobody else may write to it.
"""

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from brain_otel.runtime.lazy_regex import expression

MAX_ENTRIES = 20_000
"""Entries of a folder that are looked at."""

MAX_SMALL = 2**18
"""Bytes of a file that is read as a whole."""

STALE = 60.0
"""Seconds after which the part of a replacement has been left by a process that was killed."""

_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK
_WRITES = os.O_WRONLY | os.O_RDWR
_PART = expression(r"\.[a-z]+\.json\.\d+-\d+")
_REPLACED = (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.ENODEV)
"""A link, a pipe or socket, another user's file, a device."""

_SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class _ForeignFileError(OSError):
    """A file with a name of ours is not a regular file of this user."""


class suppress_absence(AbstractContextManager[object]):  # noqa: N801 - as `contextlib.suppress`
    """Suppress errors that mean that there is no such file of ours.

    Others pass, with which there is no descriptor or memory to look: what cannot be read now is not empty.
    """

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> bool:
        return isinstance(error, OSError) and not is_shortage(error)


def is_shortage(error: Exception) -> bool:
    """Whether there is no descriptor or memory to look with, so that nothing is known."""
    return isinstance(error, OSError) and error.errno in _SHORTAGE


@contextmanager
def opened_folder(path: Path, *, to_write: bool = False) -> Iterator[tuple[int, int]]:
    """The descriptor of a folder, and its owner.

    Raises:
        OSError: It is a link or no directory. To write: it belongs to somebody else, or others may write to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError as error:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from error
        raise
    try:
        status = os.fstat(descriptor)
        if to_write:
            _check(status, path)
        yield descriptor, status.st_uid
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, path: Path) -> None:
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"it belongs to another user, with the id {status.st_uid}", str(path))
    if status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "other users may write to it, and it is not empty", str(path))


def prepare_folder(path: Path, *, is_shared: bool = False) -> None:
    """Create a folder for its owner alone, or check it.

    One that exists is closed to other users, but if it ``is_shared`` with other files only while it is empty.

    Raises:
        OSError: It cannot be created, is a link, belongs to somebody else, or others may write to it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with opened_folder(path) as (descriptor, owner):
        status = os.fstat(descriptor)
        if status.st_mode & 0o077 and owner == os.geteuid() and not (is_shared and os.listdir(descriptor)):  # noqa: PTH208 - pathlib takes no descriptor
            os.fchmod(descriptor, 0o700)
            status = os.fstat(descriptor)
        _check(status, path)


def open_file(path: Path, flags: int) -> int:
    """Open a file for its owner alone.

    With ``O_CREAT``, a link, a pipe or a file of somebody else that has the name is replaced: the folder is ours.

    Raises:
        OSError: It cannot be opened, or is no regular file of the folder's owner.
    """
    with opened_folder(path.parent, to_write=bool(flags & _WRITES)) as (folder, owner):
        try:
            return _open_regular(folder, path.name, flags, owner)
        except OSError as error:
            is_foreign = isinstance(error, _ForeignFileError) or error.errno in _REPLACED
            if not is_foreign or not flags & os.O_CREAT or not _unlink(folder, path.name):
                raise
        return _open_regular(folder, path.name, flags | os.O_EXCL, owner)


@contextmanager
def opened_file(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The descriptor of a file during the block; see :func:`open_file`."""
    descriptor = open_file(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _unlink(folder: int, name: str) -> bool:
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
        return True
    return False


def _open_regular(folder: int, name: str, flags: int, owner: int) -> int:
    descriptor = os.open(name, flags | _OPEN, 0o600, dir_fd=folder)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_uid == owner:
        return descriptor
    os.close(descriptor)
    raise _ForeignFileError(errno.EPERM, "not a regular file of the folder's owner", name)


def read_file(path: Path) -> bytes:
    """The content of a small file.

    Raises:
        OSError: It cannot be read, or has more than :data:`MAX_SMALL` bytes.
    """
    with opened_file(path) as descriptor:
        data = os.read(descriptor, MAX_SMALL + 1)
    if len(data) > MAX_SMALL:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def read_json(path: Path) -> Any:
    """The content of a small JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(read_file(path))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def status_of(path: Path) -> os.stat_result:
    """The status of a file, or of a link itself.

    Raises:
        OSError: There is none.
    """
    with opened_folder(path.parent) as (folder, _):
        return os.stat(path.name, dir_fd=folder, follow_symlinks=False)


def remove(path: Path) -> None:
    """Remove a file or a link; never raises."""
    with suppress(OSError), opened_folder(path.parent, to_write=True) as (folder, _):
        _unlink(folder, path.name)


def files_in(folder: Path) -> list[str]:
    """The names of the regular files in ``folder``; none if it cannot be read.

    Raises:
        OSError: There is no descriptor to look with.
    """
    return _names(folder, lambda entry: entry.is_file(follow_symlinks=False))


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in ``folder``; none if it cannot be read.

    Raises:
        OSError: There is no descriptor to look with.
    """
    return _names(folder, lambda entry: entry.is_dir(follow_symlinks=False))


def _names(folder: Path, is_wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    with suppress_absence(), opened_folder(folder) as (descriptor, _), os.scandir(descriptor) as found:
        return [entry.name for entry in islice(found, MAX_ENTRIES) if is_wanted(entry)]
    return []


def write_new(path: Path, data: bytes) -> None:
    """Write a file that does not exist, whole or not at all.

    Raises:
        OSError: It exists, or cannot be written.
    """
    with opened_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            remove(path)
            raise


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file, unless it has that text already; no reader sees a part of it.

    Raises:
        OSError: It cannot be written.
    """
    data = text.encode()
    with suppress(OSError):
        if read_file(path) == data:
            return
    part = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}")
    write_new(part, data)
    try:
        with opened_folder(path.parent, to_write=True) as (folder, _):
            os.replace(part.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        remove(part)
        raise


def remove_stale_parts(folder: Path) -> None:
    """Remove parts of replacements that a killed process has left."""
    for name in files_in(folder):
        if _PART.fullmatch(name):
            with suppress(OSError):
                if abs(time.time() - status_of(folder / name).st_ctime) > STALE:
                    remove(folder / name)
