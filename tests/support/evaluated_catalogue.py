"""A tiny world to evaluate and promote in: gallery, queries with answers, a real bundle."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tasks.base.params import Params, load_params
from tasks.base.workspace import Workspace
from tasks.data.manifest import write_manifest
from tests.support.tiny_model_bundle import scene, write_bundle, write_photo
from unbundle.vision.imaging import Photo

PROJECT = Path(__file__).parents[2]


def tiny_params(folder: Path) -> Params:
    """The project's parameters at `scale: tiny`."""
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    path = folder / "params.yaml"
    path.write_text(text.replace("scale: demo", "scale: tiny", 1), encoding="utf-8")
    return load_params(path)


def write_world(
    root: Path, products: int = 8, queries: int = 12, split: str = "test", first: int = 0
) -> Workspace:
    """Write a manifest with photos, and a bundle, below `root`.

    Gallery item `g<product>-<view>` shows one product, query `q<number>` one to four of them;
    the last query's first box is where the detector sees nothing.

    Args:
        root: of the workspace.
        products: how many; every third has one photo, two, three.
        queries: how many.
        split: of the queries.
        first: number of the first product, for a catalogue that shares none with another.
    """
    workspace = Workspace(root)
    rows = []
    for number in range(first, first + products):
        for view in range(1 + number % 3):
            photo = scene([number])
            photo = (photo * (1 - 0.02 * view)).astype(photo.dtype)
            row = _row(workspace, f"g{number}-{view}", photo, [number], "gallery")
            rows.append(row | {"caption": f"red cream {number}"})
    for number in range(queries):
        shown = [first + (number + step) % products for step in range(1 + number % 4)]
        row = _row(workspace, f"q{first + number}", scene(shown), shown, split)
        rows.append(row | {"boxes": boxes(len(shown)), "kind": "multi"})
    rows[-1]["boxes"] = [[0, 0, 4, 4], *boxes(4)[1:]]
    write_manifest(workspace.manifest, pd.DataFrame(rows))
    write_bundle(workspace.bundle)
    return workspace


def boxes(count: int) -> list[list[int]]:
    """Where `bundles.scene` puts its products in 64 pixels."""
    return [[x + 1, y + 1, x + 31, y + 31] for y in (0, 32) for x in (0, 32)][:count]


def _row(
    workspace: Workspace, name: str, photo: Photo, shown: Sequence[int], split: str
) -> dict[str, object]:
    write_photo(workspace.catalogue / f"images/{name}.png", photo)
    return {
        "id": name,
        "image": f"images/{name}.png",
        "caption": f"red cream {shown[0]}",
        "labels": [f"product-{number}" for number in shown],
        "split": split,
        "kind": "single",
        "boxes": None,
        "width": 64,
        "height": 64,
        "novel": str(shown[0] % 2 == 0).lower(),
    }
