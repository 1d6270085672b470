"""Memory that requests took goes back to the system after a large one, and when none comes for a while.

By itself glibc keeps freed blocks of up to 32 MB once such a block was freed, in a pool for each of many threads: a
server of 718 MB that was sent seven requests of 64 MB still had 1,248 MB afterwards. And what a refused request held
hangs on its error, whose traceback refers to it in a circle: Python's collector would look for it after many more.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time

LARGE = 4 * 2**20  # bytes of a request after which memory is given back, whatever comes after it
DELAY_S = 1.0  # without a request after which it is, too; what comes within it is given back together
POOLS = 4  # for all threads
_ARENA_MAX = -8  # of mallopt, in malloc.h
_libc = ctypes.CDLL(None)
_ended, _large_ended = threading.Event(), threading.Event()


def keep_little() -> None:
    """From now on few pools keep what is freed, and they are emptied from time to time.

    What is imported by now stays: the collector need not look at it again.
    """
    if not hasattr(_libc, "malloc_trim"):  # another C library
        return
    _libc.mallopt(_ARENA_MAX, POOLS)
    gc.freeze()
    threading.Thread(target=_give_back, name="memory", daemon=True).start()


def ended(size: int) -> None:
    """A request of so many bytes was answered, or refused."""
    _ended.set()
    if size >= LARGE:
        _large_ended.set()


def _give_back() -> None:
    while True:
        _ended.wait()
        due = False
        while not due:
            _ended.clear()
            time.sleep(DELAY_S)
            due = _large_ended.is_set() or not _ended.is_set()
        _large_ended.clear()
        gc.collect()
        _libc.malloc_trim(0)
