"""An export in CTranslate2's format is the same function, and a rebuilt model too."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.contract import PAD
from models.forced import force
from serving import ctranslate2_format
from serving.local import LocalModel
from serving.rebuild import Rebuilt, rebuild
from serving.search import Decoding
from tests.serving.exports import RNN, TARGETS, TEXTS, exported

SETTINGS = Decoding(beam_size=1, length_penalty=0.0, max_length_ratio=0.0, max_length_offset=6)
SMALL = {"name": "transformer", "units": 12, "heads": 3, "feed_forward": 17, "encoder_layers": 2, "decoder_layers": 3}
SHAPES = [
    {"norm": "pre"},
    {"norm": "post", "tie_embeddings": "all"},
    {"norm": "pre", "tie_embeddings": "output", "learned_positions": 4},
]


def ids(rebuilt: Rebuilt) -> tuple[tf.Tensor, tf.Tensor]:
    sides = zip((rebuilt.source, rebuilt.target), (TEXTS, TARGETS), strict=True)
    source, target = (
        tf.ragged.constant([side.encode(text, add_eos=True) for text in texts], tf.int32).to_tensor(PAD)
        for side, texts in sides
    )
    return source, target


@pytest.mark.parametrize("shape", [RNN, {**SMALL, **SHAPES[0]}], ids=lambda shape: shape["name"])
def test_a_rebuilt_model_is_the_one_that_was_exported(shape: dict[str, Any], tmp_path: pathlib.Path) -> None:
    saved = exported(tmp_path / "1", SETTINGS, shape, spread=0.1)
    rebuilt = rebuild(saved)
    said = LocalModel(saved).predict("score", {"text": TEXTS, "target": TARGETS})
    forced = force(rebuilt.model, *ids(rebuilt))
    np.testing.assert_allclose(forced.log_probabilities, said["piece_scores"], atol=1e-5)
    np.testing.assert_allclose(forced.attention, said["attention"], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_ctranslate2_answers_alike(shape: dict[str, Any], tmp_path: pathlib.Path) -> None:
    import ctranslate2

    saved = exported(tmp_path / "1", SETTINGS, {**SMALL, **shape}, spread=0.3)
    ctranslate2_format.convert(saved, tmp_path / "ct2")
    translator = ctranslate2.Translator(str(tmp_path / "ct2"), intra_threads=1)
    source, target = rebuild(saved).source, rebuild(saved).target
    scored = translator.score_batch(
        [source.encode(text, out_type=str) for text in TEXTS], [target.encode(text, out_type=str) for text in TARGETS]
    )
    said = LocalModel(saved).predict("score", {"text": TEXTS, "target": TARGETS})
    for ours, theirs in zip(said["piece_scores"], scored, strict=True):
        np.testing.assert_allclose(ours[: len(theirs.log_probs)], theirs.log_probs, atol=1e-4)
    options = json.loads((tmp_path / "ct2" / "options.json").read_text())
    never = [["<pad>"], ["<s>"]]  # an untrained model would say them
    found = translator.translate_batch(
        [source.encode(text, out_type=str) for text in TEXTS],
        beam_size=SETTINGS.beam_size,
        max_decoding_length=SETTINGS.max_length_offset,
        suppress_sequences=never,
        **options,
    )
    answers = LocalModel(saved).predict("serving_default", {"text": TEXTS})["text"]
    assert [target.decode(each.hypotheses[0]) for each in found] == answers.tolist()
    with pytest.raises(RuntimeError, match="position"):  # not cut without a word
        translator.translate_batch([["a"] * (ctranslate2_format.POSITIONS + 1)], **options)


def test_both_read_the_alignment_in_the_layer_that_was_chosen(tmp_path: pathlib.Path) -> None:
    import ctranslate2

    for layer in (1, 3):
        saved = exported(tmp_path / f"{layer}", SETTINGS, SMALL | {"alignment_layer": layer}, spread=0.3)
        ctranslate2_format.convert(saved, tmp_path / f"ct2-{layer}")
        source, target = rebuild(saved).source, rebuild(saved).target
        said = LocalModel(saved).predict("score", {"text": TEXTS[1:2], "target": TARGETS[1:2]})
        (found,) = ctranslate2.Translator(str(tmp_path / f"ct2-{layer}"), intra_threads=1).translate_batch(
            [source.encode(TEXTS[1], out_type=str)],
            target_prefix=[target.encode(TARGETS[1], out_type=str)],
            return_attention=True,
            **ctranslate2_format.OPTIONS,
        )
        pieces, letters = len(TARGETS[1].split()), len(TEXTS[1])
        # A piece is aligned at the step that is given it, of which theirs has no row where END comes next.
        theirs = np.array(found.attention[0])[1 : pieces + 1]
        assert len(theirs) >= pieces - 1
        np.testing.assert_allclose(said["attention"][0, : len(theirs), :letters], theirs, atol=1e-4)


def test_other_families_are_refused(tmp_path: pathlib.Path) -> None:
    saved = exported(tmp_path / "1", SETTINGS)
    with pytest.raises(ValueError, match=r"CTranslate2 knows Transformers: expected model\.name transformer"):
        ctranslate2_format.convert(saved, tmp_path / "ct2")
    assert not (tmp_path / "ct2").exists()


def test_an_export_that_does_not_say_how_it_was_built_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="expected a SavedModel that fovea exported"):
        rebuild(tmp_path)
