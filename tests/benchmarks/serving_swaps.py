"""New versions under load: no request fails, and none is answered by a version that is not there."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks import serving_load
from tests.benchmarks.serving_line import Line, shown
from tests.benchmarks.serving_server import FIRST, Measured, add_version, request_file, words
from tests.serving.tiny_server import wait_until

CLIENTS = 16
LONGEST_S = 600.0


def swaps(served: Measured, model: pathlib.Path, folder: pathlib.Path, count: int, quiet_s: float) -> Iterator[Line]:
    """Push so many versions, one after the other, while clients ask without a pause."""
    file = request_file(folder / "swaps", [[word] for word in words(2000, seed=4)])
    address = served.server.grpc_address
    quiet = serving_load.load(serving_load.Order(address, file, clients=CLIENTS, seconds=quiet_s))
    order = serving_load.Order(address, file, clients=CLIENTS, seconds=LONGEST_S, versions=True)
    process = serving_load.start(order)
    pushed_s, ended_s = {FIRST: 0.0}, {}
    try:
        for version in range(FIRST + 1, FIRST + 1 + count):
            pushed_s[version] = add_version(model, served.server.base_path, version)
            wait_until(lambda old=version - 1: served.states()[old] == "END", f"the end of {version - 1}", LONGEST_S)
            ended_s[version - 1] = time.monotonic()
    finally:
        process.terminate()
    run = serving_load.result(process)
    failed = sum(run["failures"].values())
    yield Line(
        f"{count} new versions under {CLIENTS} clients: failed requests",
        f"{failed} of {run['answers'] + failed:,}",
        f"{run['seconds'] / count:.1f} s a version",
        str(failed),
        "0",
        failed == 0,
        {name: run[name] for name in ("answers", "failures", "seconds", "milliseconds", "per_second")},
    )
    wrong = impossible(run["seen"], pushed_s, ended_s)
    answered_by = {version for _, _, version in run["seen"]}
    yield Line(
        "answers of a version that was not there",
        f"{len(wrong)} of {len(run['seen']):,}",
        f"answers of {len(answered_by)} versions",
        str(len(wrong)),
        f"0, and answers of all {count + 1}",
        not wrong and answered_by == set(pushed_s),
    )
    yield Line("latency while versions load", shown(run["milliseconds"]), shown(quiet["milliseconds"]) + " before")


def impossible(
    seen: Sequence[Sequence[float]], pushed_s: Mapping[int, float], ended_s: Mapping[int, float]
) -> list[Sequence[float]]:
    """The answers (sent, answered, version) of a version that was not pushed yet, or had ended before the request."""
    never = float("inf")
    return [
        answer
        for answer in seen
        if answer[1] < pushed_s.get(int(answer[2]), never) or answer[0] > ended_s.get(int(answer[2]), never)
    ]
