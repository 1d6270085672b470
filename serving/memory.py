"""Memory that requests took goes back to the system after a large one, and when none comes for a while.

By itself glibc keeps freed blocks of up to 32 MB once such a block was freed, in a pool for each of many threads: a
server of 718 MB that was sent seven requests of 64 MB still had 1,248 MB afterwards. `malloc_trim` returns what is free
between blocks that are in use, but not what is free behind the last block of a pool, save of the main one: that goes
when a block is freed and more than a threshold is free there. And what a refused request held hangs on its error, whose
traceback refers to it in a circle: Python's collector would look for it after many more.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time

LARGE = 4 * 2**20  # bytes of a request after which memory is given back, whatever comes after it
DELAY_S = 1.0  # without a request after which it is, too; what comes within it is given back together
POOLS = 4  # for all threads
KEPT = 64 * 2**20  # bytes that may be free at the end of a pool while requests come; as much as glibc comes to keep
MAPPED = 32 * 2**20  # bytes of a block that is in no pool; the most that glibc comes to
_FREED = 2**17  # bytes of a block after whose release glibc looks at the end of its pool: anything above 64 kB
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1  # of mallopt, in malloc.h
_libc = ctypes.CDLL(None)
_ended, _large_ended = threading.Event(), threading.Event()


def keep_little() -> None:
    """From now on few pools keep what is freed, and they are emptied from time to time.

    What is imported by now stays: the collector need not look at it again.
    """
    if not hasattr(_libc, "malloc_trim"):  # another C library
        return
    _libc.malloc.restype, _libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    for option, value in ((_ARENA_MAX, POOLS), (_MMAP_THRESHOLD, MAPPED), (_TRIM_THRESHOLD, KEPT)):
        _libc.mallopt(option, value)
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
        _trim()


def _trim() -> None:
    """Return all that is free, between the blocks of all pools and at their ends."""
    _libc.malloc_trim(0)
    # A new thread has a pool that no other thread uses or, where there is none, the next in turn.
    together = threading.Barrier(2 * POOLS)

    def free_one() -> None:
        block = _libc.malloc(_FREED)
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait()
        _libc.free(block)

    threads = [threading.Thread(target=free_one, name="memory") for _ in range(together.parties)]
    started: list[threading.Thread] = []
    _libc.mallopt(_TRIM_THRESHOLD, 0)
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError:  # the system has no thread left: some pools are done, and the others the next time
        together.abort()
    for thread in started:
        thread.join()
    _libc.mallopt(_TRIM_THRESHOLD, KEPT)
