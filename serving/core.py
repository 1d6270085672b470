"""The models of a server: how a request names one of them, what it learns of it, and where their versions come from."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from serving.errors import ServingError, Status
from serving.life import Handle, ModelVersions, log
from serving.saved_model import SavedModel
from serving.versions import Policy, VersionState, find_versions

SIGNATURE_DEF = "signature_def"


class ServerCore:
    """Models by name; the rules of a request's ModelSpec."""

    def __init__(self, models: Iterable[ModelVersions[SavedModel]]) -> None:
        self.models = {model.name: model for model in models}

    @contextlib.contextmanager
    def handle(self, spec: model_pb2.ModelSpec) -> Iterator[Handle[SavedModel]]:
        """Hold the version that {name: "m", version: 7} names."""
        if not spec.name:
            raise ServingError(Status.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            message = f"Unrecognized servable version label: {spec.version_label}"
            raise ServingError(Status.INVALID_ARGUMENT, message)
        number = spec.version.value if choice == "version" else None
        if spec.name not in self.models:
            request = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
            raise ServingError(Status.NOT_FOUND, f"Servable not found for request: {request}")
        with self.models[spec.name].handle(number) as handle:
            yield handle

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The states of a model's versions, newest first; a label is ignored."""
        if not request.HasField("model_spec"):
            raise ServingError(Status.INVALID_ARGUMENT, "Missing ModelSpec")
        spec = request.model_spec
        states = self.models[spec.name].states() if spec.name in self.models else []
        if spec.WhichOneof("version_choice") == "version":
            states = [state for state in states if state.number == spec.version.value]
            if not states:
                message = f"Could not find version {spec.version.value} of model {spec.name}"
                raise ServingError(Status.NOT_FOUND, message)
        if not states:
            raise ServingError(Status.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=map(_status_of_version, states))

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

    def wait_available(self, stop: Callable[[], bool]) -> bool:
        """Block until every model serves (True), or `stop()` (False)."""
        return all(model.wait_available(stop) for model in self.models.values())

    def close(self) -> None:
        """Unload every model."""
        for model in self.models.values():
            model.close()


def _status_of_version(version: VersionState) -> get_model_status_pb2.ModelVersionStatus:
    status = get_model_status_pb2.ModelVersionStatus(version=version.number, state=int(version.state))
    status.status.SetInParent()
    if version.error is not None:
        status.status.error_code = int(version.error.status)
        status.status.error_message = version.error.message
    return status


class BasePathPoller:
    """Looks for a model's versions under its base path, again and again."""

    def __init__(self, model: ModelVersions[SavedModel], base_path: str, policy: Policy, interval_s: float) -> None:
        self._model = model
        self._base_path = base_path
        self._policy = policy
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name=f"poller of {model.name}", daemon=True)

    def start(self) -> None:
        """Look now, and then (an interval of 0: never again) in a thread."""
        self.poll()
        if self._interval_s > 0:
            self._thread.start()

    def poll(self) -> None:
        """Look once. A base path that is gone, which may be for a moment, unloads nothing."""
        try:
            versions = find_versions(self._base_path)
        except ServingError as error:
            self._say(error.message)
            return
        self._say("" if versions else f"No versions of model {self._model.name} found under {self._base_path}")
        self._model.want(self._policy(versions))

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.poll()

    def _say(self, message: str) -> None:
        if message and message != self._said:
            log(message)
        self._said = message
