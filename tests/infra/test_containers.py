"""What the image and its compose file promise; `make check` has both linted."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.dockerfile import instructions

COMPOSE = Path(__file__).parents[2] / "infra/compose.yaml"
SECRET = ("TOKEN", "PASSWORD", "AUTH_STRING", "SECRET", "KEY")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def test_every_port_is_the_loopbacks(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service["ports"]]
    assert len(ports) == len(services) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_come_from_the_environment(services: dict[str, Any]) -> None:
    settings = {
        key: value for service in services.values() for key, value in service["environment"].items()
    }
    secrets = {key: value for key, value in settings.items() if any(map(key.count, SECRET))}
    assert set(secrets) == {"MILVUS_TOKEN", "PREFECT_SERVER_API_AUTH_STRING"}
    assert all(value.startswith("${") for value in secrets.values())


def test_every_service_says_whether_it_lives(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {
        "service"
    }
    assert "/healthz" in dict(instructions()[-1])["HEALTHCHECK"]


def test_the_image_runs_as_a_user_of_its_own() -> None:
    user = dict(instructions()[-1])["USER"]
    assert user.isdigit()
    assert user != "0"
