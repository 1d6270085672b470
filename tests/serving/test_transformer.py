"""A Transformer with a compiled search says the same here, over gRPC and over REST."""

from __future__ import annotations

import pathlib

import numpy as np

from serving.client import connect
from serving.local import LocalModel
from serving.search import Buckets, Decoding
from tests.serving.exports import TEXTS, exported
from tests.serving.tiny_server import MODEL, running

SHAPE = {"name": "transformer", "units": 12, "heads": 3, "feed_forward": 17, "encoder_layers": 1, "decoder_layers": 2}
SETTINGS = Decoding(beam_size=2, max_length_ratio=1.0, max_length_offset=2, compiled=Buckets((2,), (8,)))
SIGNATURES = ("serving_default", "without_xla", "n_best", "align")


def test_answers_are_alike_everywhere(tmp_path: pathlib.Path) -> None:
    here = LocalModel(exported(tmp_path / MODEL / "1", SETTINGS, SHAPE, spread=0.3))
    with running(tmp_path / MODEL, tmp_path / "log") as server:
        server.wait_ready()
        for address in (server.grpc_address, server.rest_address):
            with connect(address, MODEL) as client:
                for texts in (TEXTS[:2], TEXTS):  # in a bucket, and in none
                    best = here.predict("without_xla", {"text": texts})
                    for signature in SIGNATURES:
                        said, ours = (model.predict(signature, {"text": texts}) for model in (client, here))
                        assert np.array(said["text"]).tolist() == ours["text"].tolist()
                        np.testing.assert_allclose(said["score"], ours["score"], rtol=1e-4)
                        first = ours["text"][:, 0] if signature == "n_best" else ours["text"]
                        assert first.tolist() == best["text"].tolist()
