"""How training looks in a terminal: a bar where there is one, a line an epoch where there is not."""

from __future__ import annotations

import rich.console
import rich.progress


class TrainingBar:
    """An Observer of `components.training`: a live bar with loss, speed and time left, and a line for each epoch."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("    training"),
            rich.progress.BarColumn(bar_width=28),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("steps · {task.fields[detail]}"),
            rich.progress.TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, detail="compiling")

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._bar.stop()

    def began(self, total_steps: int, done_steps: int) -> None:
        """See `components.training.Observer`."""
        self._bar.update(self._task, total=total_steps, completed=done_steps)
        if done_steps:
            self._console.print(f"    resumed from the checkpoint of step {done_steps:,} of {total_steps:,}")

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`."""
        detail = f"loss {metrics['loss']:.3f} · {metrics['target_pieces_per_s']:,.0f} pieces/s"
        self._bar.update(self._task, completed=step, detail=detail)

    def epoch(self, step: int, metrics: dict[str, float]) -> None:
        """See `components.training.Observer`."""
        loss, accuracy = metrics["validation_loss"], metrics["validation_piece_accuracy"]
        text = f"    step {step:>6,}   validation loss {loss:.4f}   pieces right {accuracy:.1%}"
        for name, value in metrics.items():
            if name not in ("validation_loss", "validation_piece_accuracy"):  # a score of decoded rows
                text += f"   {name.removeprefix('validation_').replace('_', ' ')} {value:.4g}"
        self._console.print(text, style="dim", soft_wrap=True)
