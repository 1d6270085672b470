"""What requests took goes back to the system, from wherever glibc has it; in a process of its own, which it changes."""

from __future__ import annotations

import ctypes
import itertools
import pathlib
import subprocess
import sys
import threading

from serving import memory
from tests.serving.tiny_server import wait_until

BLOCKS, BLOCK_BYTES = 2000, 2**14  # of a thread: 32 MB
SLACK_MB = 16.0


def held_mb() -> float:
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def use_every_pool() -> None:
    """As many threads as there are pools hold blocks at the same time, and free them."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    together = threading.Barrier(memory.POOLS)

    def use() -> None:
        together.wait()
        blocks = [libc.malloc(BLOCK_BYTES) for _ in range(BLOCKS)]
        for block in blocks:
            ctypes.memset(block, 1, BLOCK_BYTES)
        together.wait()
        for block in blocks:
            libc.free(block)

    threads = [threading.Thread(target=use) for _ in range(memory.POOLS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def refuse_a_thread() -> threading.Event:
    """The system has no thread left for the third that gives memory back, once; set when that has happened."""
    start, refused, threads = threading.Thread.start, threading.Event(), itertools.count(1)

    def started(thread: threading.Thread) -> None:
        if thread.name == "memory" and next(threads) == 3:
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    threading.Thread.start = started  # type: ignore[method-assign]
    return refused


def main() -> None:
    memory.keep_little()
    refused = refuse_a_thread()
    memory.ended(memory.LARGE)
    assert refused.wait(30)
    before_mb = held_mb()
    use_every_pool()
    assert held_mb() > before_mb + 2 * SLACK_MB, "glibc gave it back by itself"
    memory.ended(memory.LARGE)
    wait_until(lambda: held_mb() < before_mb + SLACK_MB, "the memory of all pools to go back", deadline_s=30)


def test_what_is_free_at_the_end_of_a_pool_goes_back() -> None:
    subprocess.run([sys.executable, "-m", "tests.serving.test_memory"], check=True, timeout=120)


if __name__ == "__main__":
    main()
