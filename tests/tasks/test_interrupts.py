"""A stage killed by SIGKILL and run again leaves what an uninterrupted run leaves."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tasks.base.digests import digest, folder_files
from tests.support.kill_a_stage import kill_when, run_stage


@pytest.fixture
def root(viewed: Path, tmp_path: Path) -> Path:
    """A workspace whose next stage is `pretrain`."""
    return Path(shutil.copytree(viewed, tmp_path, dirs_exist_ok=True))


def _digest(folder: Path) -> str:
    return digest(*(path for path in folder_files(folder) if path.suffix != ".onnx"))


def test_features_killed_between_shards(root: Path, viewed: Path) -> None:
    shutil.rmtree(root / "data/features")
    kill_when(root, "features", "data/checkpoints/features-*/tokens-00000.npy")
    assert not (root / "data/features").exists()
    first = next(root.glob("data/checkpoints/features-*/tokens-00000.npy"))
    written = first.stat().st_mtime_ns
    run_stage(root, "features")
    assert (root / "data/features/tokens-00000.npy").stat().st_mtime_ns == written
    assert _digest(root / "data/features") == _digest(viewed / "data/features")


def test_views_killed_between_shards(root: Path, viewed: Path) -> None:
    shutil.rmtree(root / "data/views")
    kill_when(root, "views", "data/checkpoints/views-*/tokens-00000.npy")
    assert not (root / "data/views").exists()
    run_stage(root, "views")
    assert _digest(root / "data/views") == _digest(viewed / "data/views")


def test_pretraining_killed_between_checkpoints(root: Path) -> None:
    run_stage(root, "pretrain")
    expected = load_file(root / "artifacts/capture/model.safetensors")
    metrics = (root / "metrics/pretraining.json").read_bytes()
    (root / "metrics/pretraining.json").unlink()
    kill_when(root, "pretrain", "data/checkpoints/pretrain/[!.]*.pt")
    assert "going on from step" in run_stage(root, "pretrain")
    assert (root / "metrics/pretraining.json").read_bytes() == metrics
    resumed = load_file(root / "artifacts/capture/model.safetensors")
    for name, weights in expected.items():
        np.testing.assert_array_equal(resumed[name], weights)
    assert not list(root.glob("data/checkpoints/pretrain/*"))
