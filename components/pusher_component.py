"""TFX's Pusher, which never pushes the same export twice in a row, and never one that was changed."""

from __future__ import annotations

import pathlib
import typing

from tfx.components.pusher import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from components.model_digest import DIGEST
from components.pushing import push
from serving.card import Card, exported_versions


class Executor(executor.Executor):
    """Pushes a blessed model, whole or not at all; not if it is the newest version already (blessed anew, say)."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, typing.Any],
    ) -> None:
        """See TFX."""
        pushed = artifact_utils.get_single_instance(output_dict[specs.PUSHED_MODEL_KEY])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[specs.PUSH_DESTINATION_KEY], destination)
        base, candidate = (
            pathlib.Path(destination.filesystem.base_directory),
            pathlib.Path(self.GetModelPath(input_dict)),
        )
        served = exported_versions(base)[-1:]
        if served and Card.of(served[0]) == Card.of(candidate):
            (version,) = served
        else:
            model = artifact_utils.get_single_instance(input_dict[specs.MODEL_KEY])
            version = push(candidate, base, model.get_string_custom_property(DIGEST))
        self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)


class Pusher(component.Pusher):
    """See `Executor`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
