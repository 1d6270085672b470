"""How long a text may be that a served model takes: a longer one is refused before it costs time and memory.

A Transformer needs memory for the square of a text's length, so that one message of a megabyte would end a server.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

BYTES_OF_A_PIECE = 16  # a text of so many bytes for each piece that is allowed is too long, whatever its pieces are


def pieces_of(
    texts: tf.Tensor, tokenize: Callable[[tf.Tensor], tf.RaggedTensor], most: int, name: str
) -> tf.RaggedTensor:
    """The pieces of texts [n] -> ids [n, length]; INVALID_ARGUMENT if one of them has more than `most`.

    `name` is that of the input in the message.
    """
    message = f"{name} is too long: at most {most} pieces a row (decoding.max_source_length), and a row has"
    bytes_ = tf.strings.length(texts)
    fits = tf.reduce_all(bytes_ <= most * BYTES_OF_A_PIECE)
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, tf.reduce_max(bytes_), "bytes"])]):
        ids = tokenize(tf.identity(texts))
    lengths = ids.row_lengths()
    fits = tf.reduce_all(lengths <= most)
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, tf.reduce_max(lengths)])]):
        return ids.with_values(tf.identity(ids.values))
