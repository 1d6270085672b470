"""What training says where there is no terminal: a line an epoch."""

from __future__ import annotations

import io

import rich.console

from components.progress import TrainingBar


def test_an_epoch_is_a_line_with_its_score_where_there_is_one() -> None:
    told = io.StringIO()
    with TrainingBar(rich.console.Console(file=told, width=120)) as bar:
        bar.began(1300, 0)
        bar.step(25, {"loss": 2.0, "target_pieces_per_s": 1700.0})
        bar.epoch(1234, {"validation_loss": 0.31234, "validation_piece_accuracy": 0.917})
        bar.epoch(
            1300, {"validation_loss": 0.3, "validation_piece_accuracy": 0.92, "validation_sequence_error_rate": 0.3746}
        )
    assert told.getvalue().splitlines() == [
        "    step  1,234   validation loss 0.3123   pieces right 91.7%",
        "    step  1,300   validation loss 0.3000   pieces right 92.0%   sequence error rate 0.3746",
    ]
