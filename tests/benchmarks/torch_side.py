"""The plain PyTorch side of the training step: models/zoo's model as one would write it with torch.nn.

Nothing is held back: nn.GRU does whole sequences with one projection of their inputs, and attention is two batched
products over all steps; nn.Transformer is as it comes. Without options it is the Adam that
`torch.optim.Adam(parameters)` gives; ``{"fused": true}`` is told apart since few ask for it on a CPU, and it is faster,
and so is ``{"autocast": true}``, mixed precision with bfloat16.
"""

from __future__ import annotations

import torch
from torch import nn

from tests.benchmarks import worker


class Seq2Seq(nn.Module):
    """Bidirectional GRU encoder, GRU decoder, Luong's general attention after the steps."""

    def __init__(self, size: worker.Size) -> None:
        super().__init__()
        units = size.units
        self.source_embedding = nn.Embedding(size.vocabulary, size.embedding)
        self.target_embedding = nn.Embedding(size.vocabulary, size.embedding)
        self.encoder = nn.GRU(size.embedding, units // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(size.embedding, units, batch_first=True)
        self.bridge = nn.Linear(units, units)
        self.keys = nn.Linear(units, units, bias=False)
        self.attentional = nn.Linear(2 * units, units, bias=False)
        self.logits = nn.Linear(units, size.vocabulary)
        self.dropout = nn.Dropout(size.dropout)
        # nn.GRU has two biases a gate, of which only the candidate's second is of any use: the others do not count.
        self.redundant = 2 * 2 * (units // 2) + 2 * units

    def forward(self, source_ids: torch.Tensor, decoder_ids: torch.Tensor) -> torch.Tensor:
        """int64 [batch, source] and [batch, target] -> [batch, target, vocabulary]."""
        values, ends = self.encoder(self.dropout(self.source_embedding(source_ids)))
        values = self.dropout(values)
        start = torch.tanh(self.bridge(torch.cat([ends[0], ends[1]], -1)))
        hidden, _ = self.decoder(self.dropout(self.target_embedding(decoder_ids)), start[None])
        scores = hidden @ self.keys(values).transpose(1, 2)
        weights = torch.softmax(scores.masked_fill((source_ids == 0)[:, None], -1e30), -1)
        vector = torch.tanh(self.attentional(torch.cat([weights @ values, hidden], -1)))
        logits: torch.Tensor = self.logits(self.dropout(vector))
        return logits


class Transformer(nn.Module):
    """Pre-norm nn.Transformer, with embeddings, sinusoidal positions and an output projection."""

    def __init__(self, size: worker.Size) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(size.vocabulary, size.units)
        self.target_embedding = nn.Embedding(size.vocabulary, size.units)
        self.transformer = nn.Transformer(
            size.units,
            size.heads,
            size.layers,
            size.layers,
            size.feed_forward,
            size.dropout,
            batch_first=True,
            norm_first=True,
        )
        self.logits = nn.Linear(size.units, size.vocabulary)
        self.dropout = nn.Dropout(size.dropout)
        self.scale = size.units**0.5
        angles = torch.arange(size.length)[:, None] / 10_000 ** (torch.arange(0, size.units, 2) / size.units)
        self.positions = nn.Buffer(torch.cat([torch.sin(angles), torch.cos(angles)], -1))
        # The projections of attention have biases there, which the paper and our own have not: they do not count.
        self.redundant = sum(p.numel() for name, p in self.named_parameters() if "attn" in name and "bias" in name)

    def forward(self, source_ids: torch.Tensor, decoder_ids: torch.Tensor) -> torch.Tensor:
        """int64 [batch, source] and [batch, target] -> [batch, target, vocabulary]."""
        source, target = (
            self.dropout(embedding(ids) * self.scale + self.positions[: ids.shape[1]])
            for embedding, ids in ((self.source_embedding, source_ids), (self.target_embedding, decoder_ids))
        )
        padding = source_ids == 0
        causal = nn.Transformer.generate_square_subsequent_mask(decoder_ids.shape[1])
        vectors = self.transformer(
            source,
            target,
            tgt_mask=causal,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        logits: torch.Tensor = self.logits(vectors)
        return logits


def main() -> None:
    """Serve training steps on one batch."""
    size, options = worker.arguments()
    torch.set_num_threads(size.threads)
    torch.manual_seed(1)
    model = Seq2Seq(size) if size.model == "rnn" else Transformer(size)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.pop("autocast", False))
    optimizer = torch.optim.Adam(model.parameters(), size.learning_rate, (0.9, 0.98), 1e-9, **options)
    criterion = nn.CrossEntropyLoss(ignore_index=0, label_smoothing=size.label_smoothing)
    source_ids, target_ids = torch.randint(4, size.vocabulary, (2, size.batch, size.length))
    decoder_ids = torch.cat([torch.full_like(target_ids[:, :1], 2), target_ids[:, :-1]], 1)

    def steps(number: int) -> float:
        for _ in range(number):
            optimizer.zero_grad()
            with autocast:
                loss = criterion(model(source_ids, decoder_ids).flatten(0, 1), target_ids.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), size.clip_norm)
            optimizer.step()
        return float(loss.item())

    parameters = sum(parameter.numel() for parameter in model.parameters()) - model.redundant
    worker.serve(steps, {"framework": f"PyTorch {torch.__version__}", "parameters": parameters})


if __name__ == "__main__":
    main()
