"""The doctor survives whatever an application does while it is imported."""

import time

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.doctor.shop import APP, SETUP, Shop


@pytest.mark.parametrize("code", ["import os\nos._exit(3)\n", "import os\nos.kill(os.getpid(), 9)\n"])
def test_an_app_that_ends_the_process_is_a_fault(shop: Shop, code: str) -> None:
    """The doctor itself goes on."""
    shop.check(SETUP + code).fault("ended the process")


HANGING = """
import os, subprocess, sys
print("chatter" * 1000); print("chatter", file=sys.stderr)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child", "w").write(str(child.pid))
import time
time.sleep(600)
"""


def test_an_app_that_hangs_is_a_fault_in_bounded_time(shop: Shop) -> None:
    """The finding shows the line, and every process that the application started is killed."""
    started = time.monotonic()
    fault = shop.check(SETUP + HANGING, import_timeout=4.0).fault("shop.py:9")
    assert "takes too long" in fault.title
    child = int((shop.folder / "child").read_text())
    while is_running(child):
        assert time.monotonic() - started < 30
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie, which waits for init."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_output_threads_and_exit_handlers_of_an_app_have_no_effect(shop: Shop) -> None:
    """A thread that never ends and an exit handler that hangs."""
    code = (
        SETUP
        + APP
        + "import atexit, threading, time\nprint('chatter' * 100_000)\natexit.register(time.sleep, 600)\n"
        + "threading.Thread(target=time.sleep, args=(600,)).start()\n"
    )
    assert shop.check(code).problems == []
