"""Memory that large requests took goes back to the system, and does not stay with glibc's allocator for the next one.

By itself glibc keeps freed blocks of up to 32 MB once such a block was freed, in a pool for each of many threads: a
server of 718 MB that was sent seven requests of 64 MB still had 1,248 MB afterwards.
"""

from __future__ import annotations

import ctypes
import threading

LARGE = 4 * 2**20  # bytes of a request after which memory is given back
DELAY_S = 1.0  # what comes within it is given back together
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1  # of mallopt, in malloc.h
_libc = ctypes.CDLL(None)
_large_ended = threading.Event()


def keep_little() -> None:
    """From now on blocks of a megabyte or more are the system's own, and few pools keep the smaller ones."""
    if not hasattr(_libc, "malloc_trim"):  # another C library
        return
    for option, value in ((_ARENA_MAX, 4), (_MMAP_THRESHOLD, 2**20), (_TRIM_THRESHOLD, 2**20)):
        _libc.mallopt(option, value)
    threading.Thread(target=_give_back, name="memory", daemon=True).start()


def ended(size: int) -> None:
    """A request of so many bytes was answered, or refused."""
    if size >= LARGE:
        _large_ended.set()


def _give_back() -> None:
    while True:
        _large_ended.wait()
        threading.Event().wait(DELAY_S)
        _large_ended.clear()
        _libc.malloc_trim(0)
