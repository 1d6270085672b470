"""What a ModelServerConfig says of models, and what is wrong with one; the rules and texts are TensorFlow Serving's.

model_config_list {
  config {
    name: "m" base_path: "/models/m" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
  }
}
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.errors import ServingError, Status
from serving.versions import Policy, every, latest, specific

Config: TypeAlias = model_server_config_pb2.ModelServerConfig

PLATFORM = "tensorflow"
LIST = "model_config_list"
_TYPES = {0: "", 1: PLATFORM}  # of the field that came before `model_platform`


def single_model(name: str, base_path: str) -> Config:
    """The configuration of a server that was told one model by flags."""
    config = Config()
    config.model_config_list.config.add(name=name, base_path=os.path.abspath(base_path), model_platform=PLATFORM)
    return config


def read_text(path: str) -> str:
    """The text of a configuration file; NOT_FOUND or INVALID_ARGUMENT with the file's name."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ServingError(Status.NOT_FOUND, f"{path}; {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _invalid(f"Invalid protobuf file: '{path}': {error}") from error


def parse(text: str, path: str) -> Config:
    """The configuration that a file holds; INVALID_ARGUMENT with the file, line and column."""
    config = Config()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise _invalid(f"Invalid protobuf file: '{path}': {error}") from error
    return config


def models_of(config: Config) -> Sequence[Any]:
    """The ModelConfigs of a configuration."""
    models: Sequence[Any] = config.model_config_list.config
    return models


def policy_of(model: Any) -> Policy:
    """Which versions of a ModelConfig are wanted; the highest one if it does not say."""
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return every()
    if choice == "specific":
        return specific(policy.specific.versions)
    return latest(policy.latest.num_versions)


def check(new: Config, old: Config) -> None:
    """Refuse what no server may change to: another kind of list, a name twice, a relative path, another platform."""
    if old.WhichOneof("config") and new.WhichOneof("config") != LIST:
        message = "Cannot transition to requested config. It is only legal to transition from one ModelConfigList"
        raise ServingError(Status.FAILED_PRECONDITION, f"{message} to another.")
    if new.WhichOneof("config") == "custom_model_config":
        raise _invalid("ModelServer does not yet support custom model config.")
    names = set()
    for model in models_of(new):
        if model.name in names:
            raise _invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in models_of(new):
        if not (os.path.isabs(model.base_path) or re.match(r"[a-zA-Z][0-9a-zA-Z.]*://", model.base_path)):
            message = f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
            raise _invalid(message)
    platforms = {model.name: _platform(model) for model in models_of(old)}
    for model in models_of(new):
        if model.name in platforms and _platform(model) != platforms[model.name]:
            message = (
                f"Illegal to change a model's platform. For model {model.name} platform was {platforms[model.name]}"
                f" and new platform requested is {_platform(model)}"
            )
            raise _invalid(message)


def check_platforms(config: Config) -> None:
    """Refuse models of other platforms; apart from `check`, because labels are looked at before."""
    for model in models_of(config):
        if _platform(model) != PLATFORM:
            raise _invalid(f"Model {model.name} requests unsupported platform {_platform(model)}")


def _platform(model: Any) -> str:
    if model.model_type and model.model_platform:
        fields = "both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        raise _invalid(f"Illegal setting {fields}")
    if model.model_type not in _TYPES:
        raise _invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    platform: str = model.model_platform or _TYPES[model.model_type]
    if not platform:
        fields = "neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        raise _invalid(f"Illegal setting {fields}")
    return platform


def _invalid(message: str) -> ServingError:
    return ServingError(Status.INVALID_ARGUMENT, message)
