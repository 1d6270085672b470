"""docker-compose.yml and Dockerfile, as far as they can be held to something without a container engine."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys
import typing

import pydantic
import pytest
import yaml

from pipeline import config as configuration
from serving import batching_parameters
from serving import flags as server_flags
from serving.allowed_ops import OLDEST_IMAGE, version_of

ROOT = pathlib.Path(__file__).parents[1]
TAG = r"[^:@$]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?"  # a version, never `latest` and no variable
REQUIRED = re.compile(r"\$\{[A-Z_]+:\?[^}]+\}")


class Strict(pydantic.BaseModel):
    """What of the Compose specification is used, as this project wants it; a key beyond that is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class Build(Strict):
    context: str
    target: str


class Healthcheck(Strict):
    test: typing.Annotated[list[str], pydantic.Field(min_length=2)]
    interval: typing.Annotated[str, pydantic.Field(pattern=r"^\d+s$")]
    timeout: typing.Annotated[str, pydantic.Field(pattern=r"^\d+s$")]
    retries: int
    start_period: str | None = None


class Dependency(Strict):
    condition: typing.Literal["service_started", "service_healthy", "service_completed_successfully"]


class Config(Strict):
    source: str
    target: typing.Annotated[str, pydantic.Field(pattern="^/")]


class File(Strict):
    file: str


class Service(Strict):
    platform: typing.Literal["linux/amd64"]
    image: typing.Annotated[str, pydantic.Field(pattern=f"^{TAG}$")]
    user: typing.Annotated[str, pydantic.Field(pattern=r"^[1-9]\d*:[1-9]\d*$")]
    read_only: typing.Literal[True]
    cap_drop: list[typing.Literal["ALL"]]
    security_opt: list[typing.Literal["no-new-privileges:true"]]
    volumes: list[str]
    networks: list[str]
    tmpfs: list[str]
    build: Build | None = None
    command: list[str] | None = None
    environment: dict[str, str] = {}
    configs: list[Config] = []
    ports: list[typing.Annotated[str, pydantic.Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    profiles: list[str] = []
    restart: typing.Literal["unless-stopped"] | None = None


class Network(Strict):
    internal: bool = False


class Compose(Strict):
    services: dict[str, Service]
    networks: dict[str, Network]
    volumes: dict[str, dict[str, str]]
    configs: dict[str, File] = {}


@pytest.fixture(scope="module")
def compose() -> Compose:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return Compose.model_validate({key: value for key, value in document.items() if not key.startswith("x-")})


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(("change", "status"), [(("", ""), 0), (("healthcheck:", "healtcheck:"), 1)])
def test_it_is_of_the_compose_specification(change: tuple[str, str], status: int, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "docker-compose.yml"
    file.write_text((ROOT / file.name).read_text().replace(*change))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert done.returncode == status, done.stdout


def test_what_services_name_is_there(compose: Compose, dockerfile: str) -> None:
    stages = re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.MULTILINE)
    for service in compose.services.values():
        assert set(service.networks) <= compose.networks.keys()
        assert {volume.split(":")[0] for volume in service.volumes} <= compose.volumes.keys()
        assert {config.source for config in service.configs} <= compose.configs.keys()
        assert service.depends_on.keys() <= compose.services.keys()
        assert service.build is None or service.build.target in stages
        for name, dependency in service.depends_on.items():
            assert dependency.condition != "service_healthy" or compose.services[name].healthcheck


def test_what_runs_write_outlives_containers(compose: Compose) -> None:
    mlflow, database = compose.services["mlflow"], compose.services["database"]
    uri = mlflow.environment["MLFLOW_BACKEND_STORE_URI"]
    user, name = database.environment["POSTGRES_USER"], database.environment["POSTGRES_DB"]
    assert re.fullmatch(rf"postgresql\+psycopg2://{user}:{REQUIRED.pattern}@database:5432/{name}", uri)
    assert mlflow.command and {"--serve-artifacts", "--artifacts-destination=/artifacts"} <= set(mlflow.command)
    assert mlflow.volumes == ["artifacts:/artifacts"] and database.volumes == ["database:/var/lib/postgresql/data"]


def test_what_keeps_running_is_watched(compose: Compose) -> None:
    for service in compose.services.values():
        assert bool(service.restart) == bool(service.healthcheck) == (not service.profiles)


def test_secrets_must_be_given(compose: Compose) -> None:
    """A password, or a URL that has one, is a variable without a default; nothing else may look like a secret."""
    secrets = 0
    for service in compose.services.values():
        for name, value in service.environment.items():
            in_url = re.search(r"://\w+:([^@]*)@", value)
            secret = in_url.group(1) if in_url else value
            if in_url or re.search("PASSWORD|SECRET|TOKEN|KEY", name):
                assert REQUIRED.fullmatch(secret), f"{name} has a default"
                secrets += 1
    assert secrets == 2


def test_the_serving_image_is_one_that_exports_run_on(compose: Compose) -> None:
    serving = compose.services["serving"]
    name, _, version = serving.image.partition(":")
    assert name == "tensorflow/serving" and version_of(version) >= version_of(OLDEST_IMAGE)
    assert serving.command and "--xla_cpu_compilation_enabled=true" in serving.command
    assert serving.volumes == ["models:/models:ro"] and serving.environment["MODEL_BASE_PATH"] == "/models"
    assert "models:/state/models" in compose.services["pipeline"].volumes  # where `Home.models` pushes


def test_the_serving_image_batches_as_our_server_would(compose: Compose) -> None:
    serving = compose.services["serving"]
    [config] = serving.configs
    file = ROOT / compose.configs[config.source].file
    parameters = batching_parameters.read(file.read_text(), str(file))
    assert parameters.execution_limit < parameters.max_batch_size  # `fovea predict` asks for more rows than a batch has
    flags, ignored = server_flags.parse([*(serving.command or []), "--model_base_path=/models"])
    assert (flags.enable_batching, flags.batching_parameters_file) == (True, config.target)
    assert flags.grpc_max_threads >= 2 * parameters.execution_limit
    assert ignored == ["xla_cpu_compilation_enabled"]


def test_the_job_is_a_run_of_an_example(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = compose.services["pipeline"]
    assert pipeline.command and pipeline.command[0] == "run" and len(pipeline.command) == 2
    for name, value in pipeline.environment.items():
        monkeypatch.setenv(name, value)
    loaded = configuration.load(ROOT / pipeline.command[1])
    assert loaded.tracking_uri == "http://mlflow:5000"
    assert compose.services["serving"].environment["MODEL_NAME"] == f"${{FOVEA_MODEL:-{loaded.name}}}"
    assert "mlflow:5000" in compose.services["mlflow"].environment["MLFLOW_SERVER_ALLOWED_HOSTS"]


def test_entry_points_and_health_checks_of_ours_exist(compose: Compose, dockerfile: str) -> None:
    assert re.findall(r"^ENTRYPOINT \[\"(\w+)\"\]$", dockerfile, re.MULTILINE) == ["fovea", "mlflow"]
    assert 'fovea = "pipeline.cli:main"' in (ROOT / "pyproject.toml").read_text()
    assert re.search("^mlflow==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    check = compose.services["mlflow"].healthcheck
    assert check and check.test[:3] == ["CMD", "python", "-c"]
    ast.parse(check.test[3])


def test_the_image_is_pinned_hashed_and_not_roots(dockerfile: str) -> None:
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert {base for base in bases if ":" in base} == {"python:3.13.9-slim-trixie"}
    *_, last = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert last == "10001:10001"
    assert dockerfile.count("pip install") == dockerfile.count("--require-hashes")
    assert "--hash=sha256:" in (ROOT / "scripts" / "postgresql.lock").read_text()


def test_what_the_dockerfile_copies_is_there_and_not_ignored(dockerfile: str) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists() and source.split("/")[0] in kept
