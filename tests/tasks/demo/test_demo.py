"""The demo catalogue: what is rendered, from the outside, at the smallest sizes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.params import Demo
from tasks.demo import DemoProduct, list_products, render_catalogue
from tasks.demo.products_per_photo import plan_shots
from tasks.demo.titles import bundle_title, single_title
from unbundle.base.errors import UserError
from unbundle.vision.imaging import open_photo

SEED = 7

DEMO = Demo(
    products=12,
    unseen_fraction=0.25,
    train_single=20,
    train_multi=8,
    gallery_per_product=2,
    queries=12,
    photo_side=160,
    workers=1,
)

Row = dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalogue")
    render_catalogue(path, DEMO, SEED)
    return path


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    with (folder / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def of(rows: list[Row], *splits: str) -> list[Row]:
    return [row for row in rows if row["split"] in splits]


def labels(row: Row) -> list[str]:
    return row["labels"].split("#;#")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_any_number_of_workers_renders_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    render_catalogue(tmp_path, DEMO.model_copy(update={"workers": 2}), SEED)
    assert contents(tmp_path) == contents(folder)


def test_another_seed_renders_other_products_and_photos(folder: Path, tmp_path: Path) -> None:
    small = DEMO.model_copy(update={"products": 8, "train_single": 1, "train_multi": 0})
    render_catalogue(tmp_path, small.model_copy(update={"queries": 1}), SEED + 1)
    photo = "images/tr00001.jpg"
    assert (tmp_path / photo).read_bytes() != (folder / photo).read_bytes()
    assert list_products(DEMO, SEED) != list_products(DEMO, SEED + 1)


def test_every_split_has_as_many_photos_as_asked_for(rows: list[Row]) -> None:
    counts = {split: len(of(rows, split)) for split in ("train", "gallery", "dev", "test")}
    assert counts == {"train": 28, "gallery": 24, "dev": 12, "test": 12}
    train = of(rows, "train")
    assert [row["kind"] for row in train] == ["single"] * 20 + ["multi"] * 8
    assert {row["kind"] for row in of(rows, "gallery")} == {"single"}
    assert {row["kind"] for row in of(rows, "dev", "test")} == {"single", "multi"}
    assert len({row["id"] for row in rows}) == len(rows)


def test_training_photos_tell_nothing_but_their_title(rows: list[Row]) -> None:
    for row in of(rows, "train"):
        told = {name for name, value in row.items() if value}
        assert told == {"id", "image", "caption", "split", "kind", "price"}


def test_gallery_photos_carry_what_results_are_filtered_by(rows: list[Row]) -> None:
    products = {item.label: item for item in list_products(DEMO, SEED)}
    for row in of(rows, "gallery"):
        item = products[row["labels"]]
        assert row["brand"] == item.brand.name
        assert row["category"] == item.category.name
        assert int(row["price"]) == item.price


def test_every_label_asked_for_is_in_the_gallery(rows: list[Row]) -> None:
    gallery = {row["labels"] for row in of(rows, "gallery")}
    assert gallery == {item.label for item in list_products(DEMO, SEED)}
    for row in of(rows, "dev", "test"):
        assert set(labels(row)) <= gallery


def test_queries_have_one_box_inside_the_photo_per_label(folder: Path, rows: list[Row]) -> None:
    for row in of(rows, "dev", "test"):
        height, width = open_photo(folder / row["image"]).shape[:2]
        boxes = json.loads(row["boxes"])
        assert len(boxes) == len(labels(row))
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            assert (x1 - x0) * (y1 - y0) > 0.005 * width * height


def test_boxes_of_single_products_are_tight(folder: Path, rows: list[Row]) -> None:
    """Beyond the box the photo is calm; at the box's edges it changes."""
    calm, busy = [], []
    for row in of(rows, "dev", "test"):
        if row["kind"] != "single":
            continue
        photo = open_photo(folder / row["image"]).astype(np.float32).mean(axis=2)
        edges = np.abs(np.diff(photo, axis=1))
        [(x0, y0, x1, y1)] = json.loads(row["boxes"])
        inside = np.zeros(edges.shape, bool)
        inside[y0:y1, x0 : x1 - 1] = True
        busy.append(edges[inside].mean())
        calm.append(edges[~inside].mean())
    assert np.mean(busy) > 1.5 * np.mean(calm)


def test_novel_products_are_asked_for_but_never_photographed_for_training() -> None:
    products = list_products(DEMO, SEED)
    novel = {index for index, item in enumerate(products) if item.novel}
    assert len(novel) == 3
    shots = plan_shots(products, DEMO, SEED)
    seen = {index for shot in shots if shot.split == "train" for index in shot.products}
    asked = {index for shot in shots if shot.split in ("dev", "test") for index in shot.products}
    assert seen == set(range(len(products))) - novel
    assert novel <= asked


def test_rows_say_which_queries_and_gallery_photos_are_novel(rows: list[Row]) -> None:
    novel = {item.label for item in list_products(DEMO, SEED) if item.novel}
    for row in of(rows, "gallery", "dev", "test"):
        assert row["novel"] == ("true" if novel & set(labels(row)) else "false")


def test_photos_have_the_sizes_asked_for(folder: Path, rows: list[Row]) -> None:
    for row in rows:
        longer = max(open_photo(folder / row["image"]).shape)
        if row["kind"] == "multi":
            assert longer == DEMO.photo_side
        else:
            assert 0.6 * DEMO.photo_side < longer < 0.9 * DEMO.photo_side


def test_a_catalogue_for_training_is_large_varied_and_has_look_alikes() -> None:
    products = list_products(DEMO.model_copy(update={"products": 160}), SEED)
    assert len({item.label for item in products}) == 160
    assert len({item.brand.name for item in products}) == 12
    assert len({item.form.shape for item in products}) >= 8
    families = [item.family for item in products]
    alone = [family for family in families if families.count(family) == 1]
    assert len(alone) < 8
    assert not any("#;#" in item.label for item in products)


def test_more_products_than_the_tables_hold_is_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"catalogue\.demo\.products: found 5000, expected at most"):
        list_products(DEMO.model_copy(update={"products": 5000}), SEED)


PRODUCTS = list_products(DEMO.model_copy(update={"products": 160}), SEED)


def names(title: str, item: DemoProduct) -> bool:
    """Whether a title names a product's line and category, in either language."""
    english = f"{item.line.name} {item.category.name}".lower()
    chinese = [item.line.zh + category for category in item.category.zh]
    return english in title.lower() or any(name in title for name in chinese)


@given(st.lists(st.sampled_from(PRODUCTS), min_size=2, max_size=5), st.integers(0, 2**32))
def test_bundle_titles_leave_a_product_unnamed(items: list[DemoProduct], seed: int) -> None:
    title = bundle_title(items, np.random.default_rng(seed))
    families = {item.family: item for item in items}
    named = [item for item in families.values() if names(title, item)]
    if len(families) == 1:
        assert not any(item.tint.zh in title or item.tint.name in title for item in items)
    elif len({(item.line.zh, item.category.key) for item in items}) == len(families):
        assert len(named) < len(families)


def test_most_titles_of_single_products_name_them_and_many_their_shade() -> None:
    rng = np.random.default_rng(SEED)
    titles = [(single_title(item, rng), item) for item in PRODUCTS for _ in range(4)]
    named = [names(title, item) for title, item in titles]
    shaded = [item.tint.zh in title or item.tint.name in title for title, item in titles]
    assert np.mean(named) > 0.9
    assert 0.5 < np.mean(shaded) < 0.9
    english = [title.isascii() for title, _ in titles]
    assert 0.1 < np.mean(english) < 0.5
