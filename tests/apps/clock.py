"""A wall clock that jumps: three days ahead at SIGUSR1, six days back at SIGUSR2."""

import signal
import time

DAY = 86_400


def install(days: int) -> None:
    """Put the process's wall clock ``days`` ahead and let it jump; leave its other clocks alone."""
    offset = [days * DAY]
    real, real_ns = time.time, time.time_ns

    def jump(number: int, _: object) -> None:
        offset[0] += 3 * DAY if number == signal.SIGUSR1 else -6 * DAY

    time.time = lambda: real() + offset[0]
    time.time_ns = lambda: real_ns() + offset[0] * 10**9
    signal.signal(signal.SIGUSR1, jump)
    signal.signal(signal.SIGUSR2, jump)
