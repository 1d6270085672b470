"""What is to be done before the heavy libraries are imported: less noise, and less to load."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import sys
import types
import warnings

from serving.quiet import without_stderr


def prepare() -> None:
    """Silence what a user can do nothing about, and leave out what is loaded but never used."""
    _quiet()
    _lean()


def load_tensorflow() -> None:
    """Import TensorFlow without its greeting."""
    with without_stderr():
        import keras  # noqa: F401  it brings TensorFlow; the other way round takes two seconds more


def _quiet() -> None:
    """Each known source of noise; what is not listed here is still heard."""
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


def _lean() -> None:
    """Four seconds of thirty: imports that nothing here needs, and a search for garbage after every 700 new objects."""
    gc.set_threshold(100_000, 50, 1000)
    # Keras loads these if they are there, for a wrapper and for image galleries.
    for name in ("sklearn", "matplotlib.pyplot"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: as if not installed
    # The package `tfx.components` imports every component, with clients for Kubernetes and Docker; and on the current
    # stack it turns import errors into components that are None. Components are imported from their own modules.
    tfx = importlib.util.find_spec("tfx")
    if tfx and tfx.submodule_search_locations and "tfx.components" not in sys.modules:
        package = types.ModuleType("tfx.components")
        package.__path__ = [os.path.join(tfx.submodule_search_locations[0], "components")]
        sys.modules["tfx.components"] = package
