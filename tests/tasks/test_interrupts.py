"""A stage killed by SIGKILL and run again leaves what an uninterrupted run leaves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from interrupts import kill_when, run_stage
from PIL import Image
from safetensors.numpy import load_file

from tasks.digests import digest, folder_files

PROJECT = Path(__file__).parents[2]
PHOTOS = 150


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace that has been validated and detected: photos of coloured noise with titles."""
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("scale: demo", "scale: tiny", 1))
    images = tmp_path / "data/catalogue/images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(PHOTOS):
        pixels = rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
        rows.append((f"t{number}", f"images/{number}.png", f"serum {number % 7} rose"))
    manifest = pd.DataFrame(rows, columns=["id", "image", "caption"])
    constants = {"split": "train", "kind": "single", "boxes": None, "width": 40, "height": 48}
    manifest = manifest.assign(labels=[[] for _ in rows], **constants)
    manifest.to_parquet(tmp_path / "data/manifest.parquet", index=False)
    boxes = {"x0": 2.0, "y0": 3.0, "x1": 38.0, "y1": 45.0, "score": 0.9}
    proposals = manifest[["id"]].assign(**boxes).astype(dict.fromkeys(boxes, "float32"))
    proposals.to_parquet(tmp_path / "data/proposals.parquet", index=False)
    return tmp_path


def _digest(folder: Path) -> str:
    return digest(*(path for path in folder_files(folder) if path.suffix != ".onnx"))


def test_features_killed_between_shards(root: Path) -> None:
    kill_when(root, "features", "data/checkpoints/features-*/tokens-00000.npy")
    assert not (root / "data/features").exists()
    first = next(root.glob("data/checkpoints/features-*/tokens-00000.npy"))
    written = first.stat().st_mtime_ns
    run_stage(root, "features")
    resumed = _digest(root / "data/features")
    assert (root / "data/features/tokens-00000.npy").stat().st_mtime_ns == written
    run_stage(root, "features")
    assert _digest(root / "data/features") == resumed


def test_pretraining_killed_between_checkpoints(root: Path) -> None:
    run_stage(root, "features")
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
