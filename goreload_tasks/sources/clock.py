"""When the clock was set or the machine slept: what happened meanwhile is known to nobody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

_CLOEXEC_NONBLOCK = os.O_CLOEXEC | os.O_NONBLOCK
_REALTIME = 0
_ABSOLUTE_UNTIL_SET = 1 | 2  # TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
_NEVER = 1 << 40  # seconds since 1970


@contextlib.contextmanager
def jumps(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` from the running loop after each jump of the wall clock.

    A timer that the kernel cancels when the clock is set, which it does on waking too (timerfd_create(2),
    TFD_TIMER_CANCEL_ON_SET): no look at a beat could be as quick, and nothing wakes us until then. Elsewhere: never.
    """
    timer = _timer() if sys.platform == "linux" else -1
    if timer < 0:
        yield
        return

    def jumped() -> None:
        with contextlib.suppress(OSError):  # ECANCELED, as was asked for; the timer stays armed
            os.read(timer, 8)
        tell()

    loop = asyncio.get_running_loop()
    loop.add_reader(timer, jumped)
    try:
        yield
    finally:
        loop.remove_reader(timer)
        os.close(timer)


def _timer() -> int:
    import ctypes  # while the first build runs

    libc = ctypes.CDLL(None)
    timer = int(libc.timerfd_create(_REALTIME, _CLOEXEC_NONBLOCK))
    if timer >= 0:
        never = (ctypes.c_long * 4)(0, 0, _NEVER, 0)  # struct itimerspec: no interval, then the moment
        libc.timerfd_settime(timer, _ABSOLUTE_UNTIL_SET, never, None)
    return timer
