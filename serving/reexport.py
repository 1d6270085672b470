"""An export made anew with another search, or another version's: the weights are the same, nothing is trained.

reexport(".fovea/models/mine/7", "wide/1", Decoding(beam_size=12)) -> its `n_best` has twelve answers
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import uuid
from collections.abc import Sequence

import tensorflow as tf
from pydantic import TypeAdapter

from models.audio import Audio
from serving import export, signatures
from serving.card import EXTRA, SOURCE_PIECES, TARGET_PIECES, Card
from serving.pieces import SourceIds
from serving.rebuild import rebuild
from serving.search import Decoding
from serving.signatures import Asked
from serving.sources import Recordings, Source, Texts


def reexport(saved_model: str | os.PathLike[str], output: str | os.PathLike[str], decoding: Decoding) -> None:
    """Write the SavedModel of an export's weights, with this search.

    Args:
        saved_model: an export of ours.
        output: a folder that is not there yet.
        decoding: how the new one searches.

    Raises:
        ValueError: it is no export of ours, or one of an older version, which does not say how it was built.
        FileExistsError: the folder is there.
    """
    path, folder = pathlib.Path(saved_model), pathlib.Path(output)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: expected a new folder")
    model = rebuild(path).model
    card = Card.read(path)
    source = _source(path, card, decoding)
    served = export.ServedModel(model, source, (path / EXTRA / TARGET_PIECES).read_bytes(), decoding)
    card = dataclasses.replace(card, export_id=uuid.uuid4().hex, decoding=dataclasses.asdict(decoding))
    export.save(served, folder, card, _warmup(path, source))


def _source(path: pathlib.Path, card: Card, decoding: Decoding) -> Source:
    if card.audio:
        return Recordings(TypeAdapter(Audio).validate_python(card.audio))
    pieces = (path / EXTRA / SOURCE_PIECES).read_bytes()
    return Texts(SourceIds(pieces), pieces, decoding.max_source_length)


def _warmup(path: pathlib.Path, source: Source) -> Sequence[Asked]:
    """What the first export was warmed up with, as its request for scores has it whole."""
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(path / EXTRA / export.WARMUP_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        if request.model_spec.signature_name == signatures.SCORE_TARGET:
            values = tf.make_ndarray(request.inputs[source.input]).tolist()
            return values if isinstance(source, Recordings) else [value.decode() for value in values]
    return []
