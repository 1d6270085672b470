"""The signatures of an exported model, and the names of their tensors.

A model that listens takes {audio: string [n], WAV files} where others take {text: string [n]}. In place of source
pieces it names the seconds at which each position of its attention begins.
"""

from typing import TypeAlias

Asked: TypeAlias = str | bytes  # what a model is asked with: a text, or a recording

SERVING_DEFAULT = "serving_default"  # {text: string [n]} -> {text: string [n], score: float32 [n]}
WITHOUT_XLA = "without_xla"  # the same without compiled programs, where the model has them (decoding.compiled)
N_BEST = "n_best"  # {text: string [n]} -> {text: string [n, beam], score: float32 [n, beam]}, best first
# {text} -> {text, score, source_pieces [n, source], target_pieces and the log-probability of each, piece_scores
# [n, target], attention [n, target, source]}
ALIGN = "align"
# {text: string [n], target: string [n]} -> {score [n], source_pieces, target_pieces, piece_scores, attention}: a given
# answer, held against the model piece by piece (forced decoding)
SCORE_TARGET = "score"
# {text: string [n], prefix: string [n]} -> {text, score}: the best answer that begins with the prefix
COMPLETE = "complete"
# {text: string [n], seed: int64 [n]} -> {text, score}: an answer that is drawn, the same one for the same seed
SAMPLE = "sample"
# {waveform: float32 [n, samples], length: int32 [n]} -> {text, score}: samples at the model's own rate
WAVEFORM = "waveform"
# {features: float32 [n, frames, depth], length: int32 [n]} -> {text, score}: of a model that is given features
FEATURES = "features"
EXAMPLES = "examples"  # {examples: string [n], serialized tf.Example} -> {text, score}: what TFMA calls

TEXT = "text"
AUDIO = "audio"
LENGTH = "length"
TARGET = "target"
PREFIX = "prefix"
SEED = "seed"
SCORE = "score"
SOURCE_PIECES = "source_pieces"
TARGET_PIECES = "target_pieces"
PIECE_SCORES = "piece_scores"
ATTENTION = "attention"

WORD_BOUNDARY = "▁"  # how a piece has a space (SentencePiece)
