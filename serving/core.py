"""The models of a server: how a request names one of them, and what it learns or asks of all of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
)

from serving.configured import ConfiguredModels
from serving.errors import ServingError, Status
from serving.life import Handle, ModelVersions, log
from serving.model_config import LIST
from serving.monitoring import note
from serving.saved_model import NO_TIMEOUT, Servable
from serving.versions import State, VersionState

SIGNATURE_DEF = "signature_def"


class ServerCore:
    """The rules of a request's ModelSpec, over the models that are configured."""

    def __init__(self, configured: ConfiguredModels) -> None:
        self._configured = configured

    @property
    def models(self) -> Mapping[str, ModelVersions[Servable]]:
        """The models by name, as they are now."""
        return self._configured.by_name

    @contextlib.contextmanager
    def handle(self, spec: model_pb2.ModelSpec) -> Iterator[Handle[Servable]]:
        """Hold the version that {name: "m", version: 7} names."""
        if not spec.name:
            raise ServingError(Status.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        self.note(spec)
        choice = spec.WhichOneof("version_choice")
        number = spec.version.value if choice == "version" else None
        if choice == "version_label":
            number = self._configured.version_of(spec.name, spec.version_label)
        model = self.models.get(spec.name)
        if model is None:
            request = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
            raise ServingError(Status.NOT_FOUND, f"Servable not found for request: {request}")
        with model.handle(number) as handle:
            note(version=str(handle.version))
            yield handle

    def note(self, spec: model_pb2.ModelSpec) -> None:
        """Count the request that this thread answers as one to the model, if there is one: names are its client's."""
        if spec.name in self.models:
            note(model=spec.name)

    def unavailable(self) -> list[str]:
        """The models of which no version serves."""
        return [
            name
            for name, model in self.models.items()
            if not any(version.state is State.AVAILABLE for version in model.states())
        ]

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of a model's versions, newest first; a label is ignored."""
        if not request.HasField("model_spec"):
            raise ServingError(Status.INVALID_ARGUMENT, "Missing ModelSpec")
        spec = request.model_spec
        states = self._configured.states(spec.name)
        if spec.WhichOneof("version_choice") == "version":
            states = [state for state in states if state.number == spec.version.value]
            if not states:
                message = f"Could not find version {spec.version.value} of model {spec.name}"
                raise ServingError(Status.NOT_FOUND, message)
        if not states:
            raise ServingError(Status.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return _status_of_model(states)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a version."""
        if not request.HasField("model_spec"):
            raise ServingError(Status.INVALID_ARGUMENT, "Missing ModelSpec")
        if not request.metadata_field:
            message = "GetModelMetadataRequest must specify at least one metadata_field"
            raise ServingError(Status.INVALID_ARGUMENT, message)
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:  # the `%s` stays, in TensorFlow Serving too
                raise ServingError(Status.INVALID_ARGUMENT, f"Metadata field %s is not supported{field}")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.handle(request.model_spec) as handle:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in handle.servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = handle.version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def statuses(self) -> dict[str, get_model_status_pb2.GetModelStatusResponse]:
        """The states of the versions of all models, by name."""
        return {name: _status_of_model(model.states()) for name, model in sorted(self.models.items())}

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a model: {"stable": 7}."""
        return dict(self._configured.labels.get(name, {}))

    def reload(
        self, request: model_management_pb2.ReloadConfigRequest, timeout_ms: int
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replace the whole list of models; what fails, or takes longer than its caller waits, changes nothing."""
        if request.config.WhichOneof("config") != LIST:
            message = (
                "ServerModelConfig type not supported by HandleReloadConfigRequest."
                " Only ModelConfigList is currently supported"
            )
            raise ServingError(Status.INVALID_ARGUMENT, message)
        deadline = time.monotonic() + timeout_ms / 1000
        try:
            self._configured.reload(request.config, lambda: timeout_ms != NO_TIMEOUT and time.monotonic() > deadline)
        except ServingError as error:
            log(f"the reload of the configuration failed: {error}")
            raise
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()  # it is there, and says OK
        return response


def _status_of_model(versions: Iterable[VersionState]) -> get_model_status_pb2.GetModelStatusResponse:
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=map(_status_of_version, versions))


def _status_of_version(version: VersionState) -> get_model_status_pb2.ModelVersionStatus:
    status = get_model_status_pb2.ModelVersionStatus(version=version.number, state=int(version.state))
    status.status.SetInParent()
    if version.error is not None:
        status.status.error_code = int(version.error.status)
        status.status.error_message = version.error.message
    return status
