"""DVC as people use it: experiments, plots, and a second clone that serves without training."""

import csv
import io
from pathlib import Path

import httpx
import pytest
import yaml

from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tests.support.documented_commands import commands, run
from tests.support.project_clone import git
from tests.support.served_catalogue import serving

pytestmark = [pytest.mark.pipeline, pytest.mark.usefixtures("prefect_server")]


def test_an_experiment_is_shown_beside_the_one_before(walked: Path) -> None:
    experiment, _, plots = commands("operations.md", "Experiments")
    run(walked, experiment)
    shown = csv.DictReader(io.StringIO(run(walked, ["dvc", "exp", "show", "--csv"])))
    rows = {row["Experiment"] or row["rev"]: row for row in shown}
    assert rows["deeper"]["evaluate.depth"] == "150"
    assert rows["main" if "main" in rows else "master"]["evaluate.depth"] == "100"
    metric = next(
        name for name in rows["deeper"] if name.endswith("mAP@10") and "plain" not in name
    )
    assert rows["deeper"][metric] == rows["workspace"][metric] != ""
    run(walked, plots)
    page = Workspace(walked).plots.read_text(encoding="utf-8")
    declared = yaml.safe_load((walked / "dvc.yaml").read_text())["plots"]
    assert [f"<h2>{next(iter(plot))}</h2>" in page for plot in declared] == [True] * 4
    assert page.count("<svg ") >= 4
    assert "<script" not in page
    git(walked, "checkout", "--quiet", "params.yaml", "dvc.lock")
    run(walked, ["dvc", "checkout", "--quiet", "dvc.yaml"])


def hits(root: Path, photo: Path) -> object:
    with serving(Workspace(root)) as (url, _), photo.open("rb") as file:
        answer = httpx.post(f"{url}/search", files={"photo": file}, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_second_clone_serves_without_training(walked: Path, tmp_path: Path) -> None:
    train, serve = (
        commands("operations.md", name) for name in ("DVC remotes", "Serve from a second clone")
    )
    for command in train:
        run(walked, [word.replace("/srv/unbundle", str(tmp_path / "store")) for word in command])
    settings = (Workspace(walked).bundle / "bundle.json").read_bytes()
    assert (walked / "bundle/bundle.json").read_bytes() == settings
    second = tmp_path / "second"
    assert serve[0][:2] == ["git", "clone"]
    run(tmp_path, ["git", "clone", "--quiet", str(walked), str(second)])
    assert serve[-1] == ["unbundle", "serve"]
    for command in serve[1:-1]:
        run(second, command)
    assert not Workspace(second).capture.exists(), "nothing was trained, nothing of training pulled"
    manifest = read_manifest(Workspace(walked).manifest)
    queries = manifest[manifest["split"] == "test"]
    photo = Workspace(walked).catalogue / queries["image"].iloc[0]
    assert hits(second, photo) == hits(walked, photo)
