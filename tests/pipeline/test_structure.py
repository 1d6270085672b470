"""The direction of imports: models <- serving <- components <- pipeline, and what a light import must not load."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

from pipeline import digest

LAYERS = ["models", "serving", "components", "pipeline"]
# Third-party packages that the lower layers may use; what is above may use more.
ALLOWED = {
    "models": {"keras", "tensorflow", "numpy", "annotated_types"},
    "serving": {
        "keras", "tensorflow", "numpy", "annotated_types", "ml_dtypes", "tensorflow_text", "tensorflow_serving", "grpc",
        "google", "uvicorn", "sentencepiece", "pydantic", "ctranslate2",
    },
}  # fmt: skip


def imported(path: pathlib.Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    for path in (digest.PROJECT / layer).rglob("*.py"):
        assert not imported(path) & above, f"{path} imports from above"


@pytest.mark.parametrize("layer", ALLOWED)
def test_lower_layers_use_few_packages(layer: str) -> None:
    known = ALLOWED[layer] | set(LAYERS) | set(sys.stdlib_module_names) | {"__future__"}
    for path in (digest.PROJECT / layer).rglob("*.py"):
        assert not imported(path) - known, f"{path} imports {imported(path) - known}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("models.zoo.rnn", ["tfx", "apache_beam", "mlflow", "tensorflow_text"]),
        ("serving.export", ["tfx", "apache_beam", "mlflow", "tensorflow_transform"]),
        ("pipeline.cli", ["tfx", "apache_beam", "mlflow", "tensorflow"]),
        ("pipeline.predict", ["tfx", "apache_beam", "mlflow"]),
        ("pipeline.check", ["tfx", "apache_beam", "mlflow"]),
        ("pipeline.evaluate", ["tfx", "apache_beam", "mlflow"]),
    ],
)
def test_light_imports_stay_light(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=digest.PROJECT, check=True)
    assert run.stdout.strip() == "[]"


def test_files_stay_small() -> None:
    for layer in LAYERS:
        for path in (digest.PROJECT / layer).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 400, f"{path}: one room, or two?"
