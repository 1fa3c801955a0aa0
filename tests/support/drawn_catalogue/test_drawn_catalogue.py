"""The third style: what is drawn, from the outside, and its catalogue through the real stages."""

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.data.catalogue_table import parse_boxes, parse_labels, read_rows
from tasks.data.manifest import read_manifest
from tasks.validate import validate
from tests.support.drawn_catalogue import SCENES, Size, draw_scene, list_products, write_catalogue
from unbundle.vision.imaging import open_photo

SEED = 3
SMALL = Size(
    products=16, train_single=14, train_multi=8, gallery_per_product=1, dev=16, test=2, side=96
)
PRODUCTS = list_products(80, 0.15, SEED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("style")
    write_catalogue(path, SEED, SMALL)
    return path


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_shows_its_products_in_their_boxes(scene: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shown = PRODUCTS[seed::37][: seed + 1] if scene != "hand" else PRODUCTS[seed::40][:2]
        drawn = draw_scene(scene, shown, 96, rng)
        assert max(drawn.pixels.shape) == 96
        assert len(drawn.boxes) == len(shown)
        height, width = drawn.pixels.shape[:2]
        for x0, y0, x1, y1 in drawn.boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            assert (x1 - x0) * (y1 - y0) > 0.004 * width * height


def test_the_same_seed_draws_the_same_photo() -> None:
    first, second = (
        draw_scene("box", PRODUCTS[:2], 96, np.random.default_rng(SEED)) for _ in range(2)
    )
    assert np.array_equal(first.pixels, second.pixels)
    assert first.boxes == second.boxes


def test_border_scenes_cut_a_product() -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        drawn = draw_scene("border", PRODUCTS[seed::30][:2], 128, rng)
        height, width = drawn.pixels.shape[:2]
        boxes = np.asarray(drawn.boxes)
        assert boxes[:, :2].min() == 0 or boxes[:, 2].max() == width or boxes[:, 3].max() == height


def test_products_have_siblings_that_share_most_words_and_some_are_novel() -> None:
    assert len({one.label for one in PRODUCTS}) == len(PRODUCTS) == 80
    assert sum(one.novel for one in PRODUCTS) == 12
    families = [one.family for one in PRODUCTS]
    assert all(families.count(family) == 4 for family in families)


def test_the_catalogue_passes_validation_whole(folder: Path, tiny_params: Params) -> None:
    workspace = Workspace(folder.parent / "workspace")
    workspace.catalogue.parent.mkdir(parents=True)
    workspace.catalogue.symlink_to(folder)
    validate(workspace, tiny_params)
    manifest = read_manifest(workspace.manifest)
    counts = manifest["split"].value_counts().to_dict()
    assert counts == {"train": 22, "gallery": 16, "dev": 16, "test": 2}


def test_rows_tell_what_their_split_may_know(folder: Path) -> None:
    rows = read_rows(folder / "catalogue.csv").to_dict("records")
    gallery = {row["labels"] for row in rows if row["split"] == "gallery"}
    novel = {row["labels"] for row in rows if row["split"] == "gallery" and row["novel"] == "true"}
    assert len(gallery) == 16
    assert novel
    for row in rows:
        if row["split"] == "train":
            assert not row["labels"]
            assert not row["boxes"]
        if row["split"] in ("dev", "test"):
            labels, boxes = parse_labels(row["labels"]), parse_boxes(row["boxes"])
            assert set(labels) <= gallery
            assert len(boxes or ()) == len(labels)
            assert row["scene"] in SCENES
            height, width = open_photo(folder / row["image"]).shape[:2]
            assert np.asarray(json.loads(row["boxes"])).max() <= max(height, width)
    titles = " ".join(row["caption"] for row in rows)
    assert not titles.isascii()


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    few = Size(products=4, train_single=2, train_multi=1, gallery_per_product=1, dev=2, side=64)
    for workers in (1, 2):
        write_catalogue(tmp_path / str(workers), SEED, few, workers)
    for path in (tmp_path / "1").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes()
