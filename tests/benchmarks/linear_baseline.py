"""What a classifier is held against: words and pairs of words by TF-IDF, and a linear SVM.

    python -m tests.benchmarks.linear_baseline examples/intents.yaml

The rows are those of the source; its validation rows choose the SVM's C, its test rows are looked at once.
"""

from __future__ import annotations

import pathlib
import sys

from components import example_gen, rows
from pipeline import config as configuration

STRENGTHS = (0.1, 0.3, 1.0, 3.0)


def main(path: str) -> None:
    """Print the accuracy on the test rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    config = configuration.load(pathlib.Path(path)).data
    splitter = example_gen.Splitter(config)
    splits: dict[str, list[rows.Row]] = {}
    for item in example_gen.find_inputs(config):
        for row in example_gen.read_rows(config, item):
            if isinstance(row, rows.Row):
                splits.setdefault(splitter(row), []).append(row)
    texts = {name: [row.source for row in part] for name, part in splits.items()}
    labels = {name: [row.references[0] for row in part] for name, part in splits.items()}
    best, score = None, -1.0
    for strength in STRENGTHS:
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC(C=strength))
        model.fit(texts["train"], labels["train"])
        reached = model.score(texts["validation"], labels["validation"])
        print(f"C {strength:g}: validation accuracy {reached:.4f}")
        if reached > score:
            best, score = model, reached
    assert best is not None
    print(f"test accuracy {best.score(texts['test'], labels['test']):.4f} on {len(texts['test']):,} rows")


if __name__ == "__main__":
    main(sys.argv[1])
