"""What the machine does during a run: MLflow's system metrics, which its page draws apart.

MLflow's own monitor reads the run before each point and gives up when its server is away; here the points go where all
else of the run goes.
"""

from __future__ import annotations

import contextlib
import threading
import typing
from collections.abc import Iterator

from components import tracking

INTERVAL_S = 10.0
PREFIX = "system/"  # MLflow's own


@contextlib.contextmanager
def sampled(run: tracking.Run, interval_s: float = INTERVAL_S) -> Iterator[None]:
    """Log the use of processors, memory, disk, network and GPUs while the body runs, and at its end."""
    over = threading.Event()
    thread = threading.Thread(target=_sample, args=(run, over, interval_s), name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sample(run: tracking.Run, over: threading.Event, interval_s: float) -> None:
    monitors, step = _monitors(), 0
    while True:
        last = over.wait(interval_s)
        values: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        with contextlib.suppress(OSError):  # a full disk is for those to report who have more to say
            run.metrics({PREFIX + name: float(value) for name, value in values.items()}, step)
        step += 1
        if last:
            return


def _monitors() -> list[typing.Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[typing.Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with contextlib.suppress(Exception):  # no NVIDIA library, or no GPU: MLflow raises what the library does
        monitors.append(GPUMonitor())
    return monitors
