"""What else the machine does while something is measured on it, and which processors it may use."""

from __future__ import annotations

import os
import pathlib
import resource
import time

QUIET = 0.05  # share of the processors' time that others may take


def keep_to(threads: int) -> list[int]:
    """Bind this process, and those that it will start, to so many processors -> their numbers."""
    processors = sorted(os.sched_getaffinity(0))[:threads]
    if len(processors) < threads:
        raise SystemExit(f"threads is {threads}, but this process may use {len(processors)} processors")
    os.sched_setaffinity(0, processors)
    return processors


def name() -> str:
    """The processor's, such as "AMD EPYC, 2 processors"."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'unknown'}, {os.cpu_count()} processors"


class Others:
    """How busy the processors were with the work of others, from the making of this object on."""

    def __init__(self) -> None:
        self._busy_s, self._began_s = _busy_s(), time.monotonic()
        self._own_s = 0.0

    def own(self, cpu_seconds: float) -> None:
        """So much of it was the measured work."""
        self._own_s += cpu_seconds

    def share(self) -> float:
        """Of all the processors' time: 0.03."""
        all_s = (time.monotonic() - self._began_s) * (os.cpu_count() or 1)
        return max(0.0, _busy_s() - self._busy_s - self._own_s) / all_s

    def warning(self) -> str:
        """A line where the machine was too busy to measure, or nothing."""
        share = self.share()
        if share <= QUIET:
            return ""
        return f"NOT QUIET: others took {share:.0%} of the processors' time; the figures do not count"


def own_cpu_s() -> float:
    """What this process has used so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _busy_s() -> float:
    # user, nice, system, (idle, iowait), irq, softirq, steal
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
