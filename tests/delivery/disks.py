"""Disks that a test can fill and free under a running process."""

import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

MOUNT = 'mkdir -p "$0" && mount -t tmpfs -o size=1m,mode=700 none "$0" && exec "$@"'
"""For a shell; the first argument is the directory."""


class Tmpfs:
    """A real disk of 1 MiB; only the process sees it, in a mount namespace of its own."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self.before: Sequence[str] = ("unshare", *options, "sh", "-c", MOUNT, str(directory))

    def seen_from_outside(self, pid: int) -> Path:
        """The directory as this process sees it."""
        return Path(f"/proc/{pid}/root{self._directory}")

    def fill(self, pid: int) -> None:
        """Fill the disk."""
        with suppress(OSError), (self.seen_from_outside(pid) / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    def free(self, pid: int) -> None:
        """Free the disk."""
        (self.seen_from_outside(pid) / "filler").unlink()


class SizeLimit:
    """A limit that lets no file grow: each write fails with EFBIG, also for root."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.before: Sequence[str] = ()

    def seen_from_outside(self, pid: int) -> Path:  # noqa: ARG002 - as the other
        """The directory as this process sees it."""
        return self._directory

    def fill(self, pid: int) -> None:
        """Fill the disk."""
        self._limit(pid, 0)

    def free(self, pid: int) -> None:
        """Free the disk."""
        self._limit(pid, resource.RLIM_INFINITY)

    def _limit(self, pid: int, size: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


Disk = Tmpfs | SizeLimit

_OPTIONS = {"tmpfs of a user": ("-U", "-r", "-m"), "tmpfs of root": ("-m",)}


def ways() -> list[str]:
    """The ways that work on this machine; the limit always does."""
    return [*[name for name, options in _OPTIONS.items() if _allows(options)][:1], "size limit"]


def disk(way: str, directory: Path) -> Disk:
    """A disk at ``directory``, in one of the :func:`ways`."""
    return SizeLimit(directory) if way == "size limit" else Tmpfs(directory, *_OPTIONS[way])


def _allows(options: Sequence[str]) -> bool:
    try:
        command = ["unshare", *options, "sh", "-c", "mount -t tmpfs -o size=1m none /tmp"]
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def without_overriding(*command: str) -> list[str]:
    """``command`` without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, so that permissions apply to root too."""
    code = (
        "import ctypes, os, sys\n"
        "drop = ctypes.CDLL(None).prctl\n"
        "assert os.geteuid() or (drop(24, 1) == 0 and drop(24, 2) == 0)\n"  # PR_CAPBSET_DROP
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    return [sys.executable, "-c", code, *command]
