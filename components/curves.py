"""The learning curves of a training, in MLflow while it runs."""

from __future__ import annotations

import time

from components import tracking


class Curves:
    """An Observer of `components.training`: the learning curves, by step.

    Points are sent together, and so seldom that sending takes about a hundredth of the time at most.
    """

    SHARE = 0.01

    def __init__(self, run: tracking.Run) -> None:
        self._run = run
        self._points: list[tuple[str, float, int, int]] = []
        self._due_s = 0.0

    def __enter__(self) -> Curves:
        return self

    def __exit__(self, *_: object) -> None:
        """Also a training that fails leaves all of its points."""
        self._send()

    def began(self, total_steps: int, done_steps: int) -> None:
        """See `components.training.Observer`."""
        resumed = {"fovea.resumed_from_step": str(done_steps)} if done_steps else {}
        self._run.tags({"fovea.total_steps": str(total_steps), **resumed})

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`."""
        self._add("training", step, metrics)
        if time.monotonic() >= self._due_s:
            self._send()

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`."""
        self._add("validation", step, {name.removeprefix("validation_"): value for name, value in metrics.items()})
        self._send()

    def _add(self, group: str, step: int, metrics: dict[str, float]) -> None:
        now_ms = tracking.now_ms()
        self._points += [(f"{group}/{name}", value, now_ms, step) for name, value in metrics.items()]

    def _send(self) -> None:
        began_s = time.monotonic()
        points, self._points = self._points, []
        self._run.points(points)
        now_s = time.monotonic()
        self._due_s = now_s + (now_s - began_s) / self.SHARE
