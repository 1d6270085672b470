"""Keeps libraries from saying what a user of Fovea can do nothing about. To be called before they are imported."""

from __future__ import annotations

import logging
import os
import warnings


def quiet() -> None:
    """Silence each known source of noise; what is not listed here is still heard."""
    # TensorFlow's C++: CUDA plug-ins that are registered twice, a missing GPU, the end of each data set.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Python 3.10 is the last that TFX 1.16 installs on, so it stays until the stack goes.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core\._python_version_support")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.(auth|oauth2|cloud)\b.*")
    # TFX and Beam log each proto that they handle, through absl and logging.
    for name in ("absl", "apache_beam", "tensorflow", "tfx", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import absl.logging

    absl.logging.set_verbosity(absl.logging.ERROR)
