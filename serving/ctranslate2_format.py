"""A trained Transformer as a CTranslate2 model (OpenNMT/CTranslate2), which decodes fast on CPUs without TensorFlow.

    convert(saved_model, output)
    translator, options = ctranslate2.Translator(output), json.load(open(f"{output}/options.json"))
    translator.translate_batch([source.encode(text, out_type=str)], beam_size=5, **options)

Both are the same function of the same weights, so the same search finds the same answers. CTranslate2's own options
cut a text behind 1,024 pieces without a word and let it say <unk>: OPTIONS, which lie beside the model, do not. An
answer ends behind max_decoding_length pieces, 256 unless it is told, where ours ends in proportion to the source; and
scores are divided by |Y| ** length_penalty, where GNMT has ((5 + |Y|) / 6) ** length_penalty.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from typing import Any

import keras
import numpy as np
import sentencepiece
import tensorflow as tf

from models.output import TiedLogits
from models.transformer import FeedForward, Residual
from models.zoo.transformer import Transformer
from serving.card import EXTRA, SOURCE_PIECES, TARGET_PIECES
from serving.rebuild import rebuild

POSITIONS = 2048  # CTranslate2 wants a table; a longer text is an error, once it is not cut
OPTIONS_FILE = "options.json"
OPTIONS = {"max_input_length": 0, "min_decoding_length": 0, "disable_unk": True, "length_penalty": 0}


def convert(saved_model: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Write the CTranslate2 model of an export, with its SentencePiece models and OPTIONS beside it.

    Args:
        saved_model: an exported Transformer.
        output: a folder that is not there yet.

    Raises:
        ValueError: the model is of another family, which CTranslate2 does not know.
        FileExistsError: the folder is there.
    """
    from ctranslate2.specs import TransformerSpec

    model, source, target = rebuild(saved_model)
    if not isinstance(model, Transformer):
        raise ValueError(f"CTranslate2 knows Transformers: expected model.name transformer, got {model.name}")
    folder = pathlib.Path(output)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: expected a new folder")
    layers = (len(model.encoder), len(model.decoder))
    pre_norm = model.encoder_norm is not None
    spec = TransformerSpec.from_config(
        layers, model.decoder[0].heads, pre_norm=pre_norm, alignment_layer=model.alignment_layer, alignment_heads=0
    )
    spec.config.add_source_eos = True
    _embeddings(spec.encoder, spec.encoder.embeddings[0], model.source_embedding, model)
    _embeddings(spec.decoder, spec.decoder.embeddings, model.target_embedding, model)
    for written, layer in zip(spec.encoder.layer, model.encoder, strict=True):
        _attend_within(written.self_attention, layer.attention, layer.around_attention)
        _feed_forward(written.ffn, layer.feed_forward)
    for written, layer in zip(spec.decoder.layer, model.decoder, strict=True):
        _attend_within(written.self_attention, layer.self_attention, layer.around_self_attention)
        _attend_across(written.attention, layer.attention, layer.around_attention)
        _feed_forward(written.ffn, layer.feed_forward)
    if pre_norm:
        _norm(spec.encoder.layer_norm, model.encoder_norm)
        _norm(spec.decoder.layer_norm, model.decoder_norm)
    _projection(spec.decoder.projection, model.output_logits)
    assert source is not None, "a Transformer reads text"
    spec.register_source_vocabulary(_pieces(source))
    spec.register_target_vocabulary(_pieces(target))
    spec.validate()
    folder.mkdir(parents=True)
    spec.save(str(folder))
    (folder / OPTIONS_FILE).write_text(json.dumps(OPTIONS, indent=2) + "\n")
    for name in (SOURCE_PIECES, TARGET_PIECES):
        shutil.copyfile(pathlib.Path(saved_model) / EXTRA / name, folder / name)


def _pieces(processor: sentencepiece.SentencePieceProcessor) -> list[str]:
    return [processor.id_to_piece(number) for number in range(processor.get_piece_size())]


def _embeddings(side: Any, written: Any, embedding: keras.layers.Embedding, model: Transformer) -> None:
    """Embeddings take their scale with them: CTranslate2's own is that of any embedding, tied or not."""
    written.weight = embedding.embeddings.numpy() * np.float32(embedding.scale)
    side.scale_embeddings = False
    side.position_encodings.encodings = model.positions(tf.range(POSITIONS)).numpy()


def _attend_within(written: Any, attention: Any, around: Residual) -> None:
    """Queries, keys and values are one product there."""
    _norm(written.layer_norm, around.norm)
    written.linear[0].weight = _rows(attention.queries, attention.keys, attention.values)
    written.linear[1].weight = _rows(attention.contexts)


def _attend_across(written: Any, attention: Any, around: Residual) -> None:
    _norm(written.layer_norm, around.norm)
    written.linear[0].weight = _rows(attention.queries)
    written.linear[1].weight = _rows(attention.keys, attention.values)
    written.linear[2].weight = _rows(attention.contexts)


def _feed_forward(written: Any, layer: FeedForward) -> None:
    _norm(written.layer_norm, layer.around.norm)
    for linear, dense in ((written.linear_0, layer.hidden), (written.linear_1, layer.outputs)):
        linear.weight, linear.bias = _rows(dense), dense.bias.numpy()


def _projection(written: Any, logits: TiedLogits | keras.layers.Dense) -> None:
    tied = isinstance(logits, TiedLogits)
    written.weight = logits.table.embeddings.numpy() if tied else _rows(logits)
    written.bias = logits.bias.numpy()


def _norm(written: Any, norm: keras.layers.LayerNormalization) -> None:
    written.gamma, written.beta = norm.gamma.numpy(), norm.beta.numpy()


def _rows(*products: keras.layers.Dense) -> np.ndarray:
    """Kernels [depth, units], side by side, as CTranslate2 has them: [units, depth]."""
    return np.concatenate([product.kernel.numpy() for product in products], axis=1).T.copy()
