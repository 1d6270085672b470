"""What a server's process brings along."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
import sys
from serving import server
server._import_tensorflow()
from serving import grpc_server, rest_server, saved_model, warmup
assert "keras" not in sys.modules
import tensorflow as tf
assert tf.keras.layers.Dense(2)(tf.ones([1, 3])).shape == (1, 2)  # who needs it has it
"""


def test_a_server_imports_no_keras() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
