"""Which model a candidate is compared with."""

from __future__ import annotations

import ml_metadata
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import Artifact

from components import pushing

CANDIDATE = "candidate"
SERVED_MODEL_ID = "current_model_id"  # on an InfraBlessing: the model that was served for it


class LatestOtherBlessedModel(LatestBlessedModelStrategy):
    """The model that is served: the one pushed last, by a run or by hand, that is not the candidate itself.

    A run that finds everything in the cache has a candidate that was blessed before. Compared with itself it would be
    evaluated, blessed and pushed a second time. Neither is a model the champion that did not serve: nobody has it.
    Where nothing was pushed, the latest blessed model is the champion.
    """

    def resolve_artifacts(
        self, store: ml_metadata.MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]] | None:
        """See TFX: {model, model_blessing, candidate} -> {model, model_blessing}, [] where there is none."""
        candidates = {artifact.id for artifact in input_dict[CANDIDATE]}
        others = {key: value for key, value in input_dict.items() if key != CANDIDATE}
        passed_over = candidates | _not_servable(store)
        others["model"] = [model for model in others["model"] if model.id not in passed_over]
        by_id = {model.id: model for model in others["model"]}
        pushed = [by_id[model_id] for model_id, _ in pushing.pushes(store) if model_id in by_id]
        others["model"] = pushed[-1:] or others["model"]
        resolved = super().resolve_artifacts(store, others)
        return None if resolved is None else resolved | {CANDIDATE: input_dict[CANDIDATE]}


def _not_servable(store: ml_metadata.MetadataStore) -> set[int]:
    """Models that were served and not once blessed for it."""
    verdicts: dict[int, bool] = {}
    for blessing in store.get_artifacts_by_type("InfraBlessing"):
        properties = blessing.custom_properties
        if SERVED_MODEL_ID in properties:
            model_id = properties[SERVED_MODEL_ID].int_value
            verdicts[model_id] = verdicts.get(model_id, False) or properties["blessed"].int_value == 1
    return {model_id for model_id, blessed in verdicts.items() if not blessed}
