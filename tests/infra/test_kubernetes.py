"""What the manifests promise, and that they fit the image; `make check` has their schemas."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.dockerfile import instructions

FOLDER = Path(__file__).parents[2] / "infra/kubernetes"
DOCUMENTS = [
    document
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
DEPLOYMENTS = [document for document in DOCUMENTS if document["kind"] == "Deployment"]


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def containers() -> Iterator[dict[str, Any]]:
    for deployment in DEPLOYMENTS:
        yield from pod(deployment).get("initContainers", []) + pod(deployment)["containers"]


def of(kind: str, name: str = "unbundle") -> dict[str, Any]:
    (found,) = [d for d in DOCUMENTS if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return dict(found)


def test_no_container_may_do_more_than_it_needs() -> None:
    user = int(dict(instructions()[-1])["USER"])
    for deployment in DEPLOYMENTS:
        assert pod(deployment)["automountServiceAccountToken"] is False
        context = pod(deployment)["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, user)
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_settings_name_what_containers_read_and_hold_no_secret() -> None:
    secrets, settings = of("Secret")["stringData"], of("ConfigMap")["data"]
    assert set(secrets.values()) == {""}
    read = {"secretKeyRef": set(), "configMapKeyRef": set()}
    for container in containers():
        for variable in container["env"]:
            for kind, reference in variable.get("valueFrom", {}).items():
                assert (reference["name"], reference["key"]) == ("unbundle", variable["name"])
                read[kind].add(reference["key"])
    assert read == {"secretKeyRef": set(secrets), "configMapKeyRef": set(settings)}


def test_the_service_is_the_one_of_the_image() -> None:
    image = dict(instructions()[-1])
    (container,) = pod(of("Deployment"))["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) == image["EXPOSE"]
    assert of("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert container["volumeMounts"][0]["mountPath"] in image["ENV"]
    assert "command" not in container


@pytest.mark.parametrize(("probe", "path"), [("readiness", "/readyz"), ("liveness", "/healthz")])
def test_the_service_is_asked_how_it_is(probe: str, path: str) -> None:
    (container,) = pod(of("Deployment"))["containers"]
    assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}


def test_what_scales_and_protects_the_service_selects_its_pods() -> None:
    labels = of("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of("Service")["spec"]["selector"] == labels
    assert of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert of("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "unbundle"
