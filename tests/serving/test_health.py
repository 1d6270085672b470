"""The health check that docker-compose.yml has for TensorFlow Serving, against our server, which answers alike."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from tests.serving.tiny_server import MODEL, ROOT, Server


@pytest.mark.parametrize(("model", "healthy"), [(MODEL, True), ("another", False)])
def test_a_server_is_healthy_when_its_model_is_available(server: Server, model: str, healthy: bool) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    exec_form, *command = services["serving"]["healthcheck"]["test"]
    assert exec_form == "CMD"
    command = [part.replace("$$", "$").replace("/8501", f"/{server.rest_port}") for part in command]
    done = subprocess.run(command, env={"MODEL_NAME": model, "PATH": "/usr/bin:/bin"}, timeout=30)
    assert (done.returncode == 0) == healthy
