"""The plain PyTorch side of the speech training step: a stack of bidirectional nn.LSTM in a pyramid, with CTC.

It is given features, and nothing is held back: nn.LSTM does whole sequences of full length, without masks, and
nn.CTCLoss is as it comes. ``{"fused": true}`` is Adam's own option, ``{"autocast": true}`` mixed precision, bfloat16.
"""

from __future__ import annotations

import torch
from torch import nn

from tests.benchmarks import worker
from tests.benchmarks.speech_size import Size, arguments


class Listener(nn.Module):
    """Bidirectional layers; after some of them the outputs are joined in pairs; a projection to the pieces."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.reduce_after = size.reduce_after
        self.layers = nn.ModuleList()
        depth = size.bands
        for number in range(1, size.layers + 1):
            self.layers.append(nn.LSTM(depth, size.units // 2, batch_first=True, bidirectional=True))
            depth = size.units * (2 if number in size.reduce_after else 1)
        self.logits = nn.Linear(depth, size.vocabulary)
        # nn.LSTM has two biases a gate where one does.
        self.redundant = size.layers * 4 * size.units

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, frames, bands] -> [batch, source, vocabulary]."""
        outputs = features
        for number, layer in enumerate(self.layers, 1):
            outputs, _ = layer(outputs)
            if number in self.reduce_after:
                batch, time, depth = outputs.shape
                outputs = outputs.reshape(batch, time // 2, 2 * depth)
        logits: torch.Tensor = self.logits(outputs)
        return logits


def main() -> None:
    """Serve training steps on one batch."""
    size, options = arguments()
    torch.set_num_threads(size.threads)
    torch.manual_seed(1)
    model = Listener(size)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.pop("autocast", False))
    optimizer = torch.optim.Adam(model.parameters(), size.learning_rate, (0.9, 0.98), 1e-9, **options)
    criterion = nn.CTCLoss(reduction="sum")
    features = torch.randn(size.batch, size.frames, size.bands)
    target_ids = torch.randint(4, size.vocabulary, (size.batch, size.pieces))
    target_lengths = torch.full((size.batch,), size.pieces)

    def steps(number: int) -> float:
        for _ in range(number):
            optimizer.zero_grad()
            with autocast:
                logits = model(features)
            said = logits.float().log_softmax(-1).transpose(0, 1)
            lengths = torch.full((size.batch,), said.shape[0])
            loss = criterion(said, target_ids, lengths, target_lengths) / (size.batch * size.pieces)
            loss.backward()
            optimizer.step()
        return float(loss.item())

    parameters = sum(parameter.numel() for parameter in model.parameters()) - model.redundant
    worker.serve(steps, {"framework": f"PyTorch {torch.__version__}", "parameters": parameters})


if __name__ == "__main__":
    main()
