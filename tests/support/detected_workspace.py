"""A workspace after detection: photos of coloured noise with titles, one box each."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

PROJECT = Path(__file__).parents[2]
PHOTOS = 150


def write_detected(root: Path) -> Path:
    """Write params at `scale: tiny`, a catalogue's images, manifest and proposals below `root`."""
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("scale: demo", "scale: tiny", 1))
    images = root / "data/catalogue/images"
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
    manifest.to_parquet(root / "data/manifest.parquet", index=False)
    boxes = {"x0": 2.0, "y0": 3.0, "x1": 38.0, "y1": 45.0, "score": 0.9}
    proposals = manifest[["id"]].assign(**boxes).astype(dict.fromkeys(boxes, "float32"))
    proposals.to_parquet(root / "data/proposals.parquet", index=False)
    return root


def add_queries(root: Path) -> None:
    """Turn the last photos into a gallery of ten products, and into dev and test queries."""
    path = root / "data/manifest.parquet"
    manifest = pd.read_parquet(path)
    splits = ["train"] * (PHOTOS - 60) + ["gallery"] * 20 + ["dev"] * 20 + ["test"] * 20
    numbers = range(PHOTOS)
    labels = [
        [] if split == "train" else [f"p{n % 10}"] for n, split in zip(numbers, splits, strict=True)
    ]
    boxes = [[[1, 1, 30, 40]] if split == "test" else None for split in splits]
    manifest.assign(split=splits, labels=labels, boxes=boxes).to_parquet(path, index=False)
