"""TFX's Pusher, which never pushes the same export twice."""

from __future__ import annotations

import pathlib
import typing

from tfx.components.pusher import component, executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.utils import proto_utils

from serving.card import Card, exported_versions


class Executor(executor.Executor):
    """Pushes a blessed model, unless that very export is the newest version already (blessed anew, say)."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, typing.Any],
    ) -> None:
        """See TFX."""
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[specs.PUSH_DESTINATION_KEY], destination)
        candidate = Card.of(pathlib.Path(self.GetModelPath(input_dict)))
        for version in exported_versions(pathlib.Path(destination.filesystem.base_directory))[-1:]:  # what is served
            if self.CheckBlessing(input_dict) and Card.of(version) == candidate:
                pushed = artifact_utils.get_single_instance(output_dict[specs.PUSHED_MODEL_KEY])
                self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)
                return
        super().Do(input_dict, output_dict, exec_properties)


class Pusher(component.Pusher):
    """See `Executor`."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
