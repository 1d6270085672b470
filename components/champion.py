"""Which model a candidate is compared with."""

from __future__ import annotations

import ml_metadata
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import Artifact

CANDIDATE = "candidate"


class LatestOtherBlessedModel(LatestBlessedModelStrategy):
    """The latest blessed model that is not the candidate itself.

    A run that finds everything in the cache has a candidate that was blessed before. Compared with itself it would be
    evaluated, blessed and pushed a second time.
    """

    def resolve_artifacts(
        self, store: ml_metadata.MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]] | None:
        """See TFX: {model, model_blessing, candidate} -> {model, model_blessing}, [] where there is none."""
        candidates = {artifact.id for artifact in input_dict[CANDIDATE]}
        others = {key: value for key, value in input_dict.items() if key != CANDIDATE}
        others["model"] = [model for model in others["model"] if model.id not in candidates]
        resolved = super().resolve_artifacts(store, others)
        return None if resolved is None else resolved | {CANDIDATE: input_dict[CANDIDATE]}
