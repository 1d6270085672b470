"""Which model a candidate is compared with."""

from __future__ import annotations

import math
import pathlib

import ml_metadata
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import Artifact
from tfx.utils import path_utils

from components import pushing
from serving.card import Card

CANDIDATE = "candidate"
SERVED_MODEL_ID = "current_model_id"  # on an InfraBlessing: the model that was served for it


class LatestOtherBlessedModel(LatestBlessedModelStrategy):
    """The model that is served: the one pushed last, by a run or by hand, that is not the candidate itself.

    A run that finds everything in the cache has a candidate that was blessed before. Compared with itself it would be
    evaluated, blessed and pushed a second time. Neither is a model the champion that did not serve: nobody has it.
    Where nothing was pushed, the latest blessed model is the champion. One that takes other or only shorter sources
    than the candidate cannot be asked for all of the test rows, and is none.
    """

    def resolve_artifacts(
        self, store: ml_metadata.MetadataStore, input_dict: dict[str, list[Artifact]]
    ) -> dict[str, list[Artifact]] | None:
        """See TFX: {model, model_blessing, candidate} -> {model, model_blessing}, [] where there is none."""
        candidates = {artifact.id for artifact in input_dict[CANDIDATE]}
        wanted = [_asked(artifact) for artifact in input_dict[CANDIDATE]]
        others = {key: value for key, value in input_dict.items() if key != CANDIDATE}
        passed_over = candidates | _not_servable(store)
        others["model"] = [
            model
            for model in others["model"]
            if model.id not in passed_over and all(_answers(_asked(model), asked) for asked in wanted)
        ]
        by_id = {model.id: model for model in others["model"]}
        pushed = [by_id[model_id] for model_id, _ in pushing.pushes(store) if model_id in by_id]
        others["model"] = pushed[-1:] or others["model"]
        resolved = super().resolve_artifacts(store, others)
        return None if resolved is None else resolved | {CANDIDATE: input_dict[CANDIDATE]}


def _asked(model: Artifact) -> tuple[bool, float]:
    """Whether it listens, and the longest text or recording that it takes; both are in the card of its export."""
    card = Card.of(pathlib.Path(path_utils.serving_model_path(model.uri)))
    if card is None:
        return False, 0.0
    most = card.audio["max_seconds"] if card.audio else card.decoding.get("max_source_length", math.inf)
    return bool(card.audio), float(most)


def _answers(champion: tuple[bool, float], candidate: tuple[bool, float]) -> bool:
    """Whether the champion takes every test row that the candidate does: one that it refused would end the run."""
    return champion[0] == candidate[0] and champion[1] >= candidate[1]


def _not_servable(store: ml_metadata.MetadataStore) -> set[int]:
    """Models that were served and not once blessed for it."""
    verdicts: dict[int, bool] = {}
    for blessing in store.get_artifacts_by_type("InfraBlessing"):
        properties = blessing.custom_properties
        if SERVED_MODEL_ID in properties:
            model_id = properties[SERVED_MODEL_ID].int_value
            verdicts[model_id] = verdicts.get(model_id, False) or properties["blessed"].int_value == 1
    return {model_id for model_id, blessed in verdicts.items() if not blessed}
