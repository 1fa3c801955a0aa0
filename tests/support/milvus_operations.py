"""One walk through everything that serving does with Milvus, told as JSON values.

`python -m tests.support.milvus_operations FILE` walks through the database of MILVUS_URI and writes
what it saw. Steps run in their order, each on collections of its own where it changes something.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unbundle.base.errors import UserError
from unbundle.index.columns import infer_columns
from unbundle.index.filters import Filters
from unbundle.index.gallery_collection import Gallery, Hit, Item
from unbundle.index.milvus_database import CHAMPION, PREVIOUS, Database
from unbundle.ranking.embedding_parts import Vectors, unit

READ, CHANGED, CROWDED, OLD, NEW = (f"products_{digit * 12}" for digit in "abcde")
DIMENSION = 16
COLUMNS = infer_columns({"price": ["1"], "brand": ["AHC"], "品牌": ["雅诗兰黛"]})
FILTERS: tuple[Filters, ...] = (
    {"brand": "brand 1"},
    {"brand": ["brand 0", "brand 2"], "price": {"min": 10, "max": 20.5}},
    {"price": {"min": 35}},
    {"price": [3, 4, 5]},
    {"品牌": "雅 0"},
    {"label": "product 3"},
    {"brand": 'a" or id != "'},
    {"brand": "back\\slash 'and' 霜"},
    {"id": ["i0001", "i0002"], "price": {"max": 1}},
)
MISTAKES: tuple[Filters, ...] = (
    {"colour": "red"},
    {"price": "cheap"},
    {"brand": {"min": 1}},
    {"brand": "a\nb"},
    {"price": {}},
)


def vectors(count: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return unit(rows.astype(np.float32))


def item(number: int, label: str | None = None) -> Item:
    cells = {"price": str(number), "brand": f"brand {number % 3}", "品牌": f"雅 {number % 2}"}
    name = f"product {number // 4}" if label is None else label
    return Item(f"i{number:04d}", name, f"标题 {number}", f"images/{number}.jpg", cells)


def made(database: Database, name: str, bundle: str = "b0") -> Gallery:
    gallery = database.create_gallery(name, DIMENSION, COLUMNS, {"bundle": bundle})
    gallery.upsert([item(number) for number in range(60)], vectors(60))
    gallery.count()  # reads all that was written, so that the next searches see it on a server
    return gallery


def told(hits: list[list[Hit]]) -> list[list[list[Any]]]:
    return [
        [
            [hit.id, round(hit.score, 4), hit.label, hit.caption, hit.image, hit.fields]
            for hit in row
        ]
        for row in hits
    ]


def said(database: Database, *mistakes: Callable[[], object]) -> list[str]:
    answers = []
    for mistake in mistakes:
        try:
            answers.append(f"no error: {mistake()}")
        except (UserError, ValueError) as error:
            answers.append(f"{type(error).__name__}: {error}".replace(database.uri, "PLACE"))
    return answers


def an_empty_database(database: Database) -> Any:
    return [
        database.collections(),
        database.target(CHAMPION),
        said(database, database.gallery, database.rollback, lambda: database.promote(OLD)),
    ]


def a_new_collection(database: Database) -> Any:
    gallery = made(database, READ)
    properties = {key: gallery.properties[key] for key in ("bundle", "columns")}
    again = database.create_gallery(READ, DIMENSION)
    return [gallery.dimension, gallery.columns, properties, gallery.index["metric"], again.columns]


def counts_and_ids(database: Database) -> Any:
    gallery = database.gallery(READ)
    return [
        gallery.count(),
        sorted(gallery.ids()),
        database.exists(READ),
        database.exists("nowhere"),
    ]


def rows(database: Database) -> Any:
    found = database.gallery(READ).rows
    return [found.ids, np.round(found.vectors, 5).tolist()]


def a_search(database: Database) -> Any:
    return told(database.gallery(READ).search(vectors(70, seed=2), 7))


def a_search_for_more_than_there_is(database: Database) -> Any:
    return told(database.gallery(READ).search(vectors(2, seed=3), 100))


def filters(database: Database) -> Any:
    gallery = database.gallery(READ)
    return [told(gallery.search(vectors(1, seed=4), 60, one)) for one in FILTERS]


def products(database: Database) -> Any:
    gallery = database.gallery(READ)
    plain = told(gallery.search_products(vectors(5, seed=5), 9))
    return [plain, told(gallery.search_products(vectors(5, seed=5), 9, {"brand": "brand 1"}))]


def a_product_with_hundreds_of_near_photos(database: Database) -> Any:
    gallery = database.create_gallery(CROWDED, DIMENSION, COLUMNS, {"bundle": "b0"})
    near = unit(vectors(1) + 0.01 * vectors(300, seed=1))
    gallery.upsert([item(number, "crowd") for number in range(300)], near)
    gallery.upsert([item(900 + number, f"rare {number}") for number in range(12)], vectors(12, 2))
    return [gallery.count(), told(gallery.search_products(vectors(1), 10))]


def one_row(database: Database) -> Any:
    gallery = database.gallery(READ)
    found = gallery.find("i0007")
    assert found is not None
    hit, vector = found
    crafted = [gallery.find(text) for text in ("i9999", "", 'i0001" or id != "', "é")]
    return [told([[hit]]), np.round(vector, 5).tolist(), crafted]


def writing_again(database: Database) -> Any:
    gallery = made(database, CHANGED)
    gallery.upsert([item(number, "other") for number in range(30)], vectors(30, seed=1))
    gallery.flush()
    return [gallery.count(), told(gallery.search(vectors(3, seed=1), 5))]


def deleting(database: Database) -> Any:
    gallery = database.gallery(CHANGED)
    gallery.delete(["i0001", "i0002", "nothing"])
    left = gallery.count()
    return [left, sorted(gallery.ids()), told(gallery.search(vectors(3, seed=1), 5))]


def properties(database: Database) -> Any:
    database.gallery(CHANGED).annotate({"evaluation": '{"mAP": 0.5, "was": "über 霜"}'})
    found = database.gallery(CHANGED).properties
    return [found["evaluation"], found["bundle"], database.gallery(CHANGED).columns]


def promotions(database: Database) -> Any:
    for name in (OLD, NEW):
        made(database, name, bundle=f"of {name}")

    def state() -> list[Any]:
        served = database.gallery().name if database.target(CHAMPION) else None
        return [database.target(CHAMPION), database.target(PREVIOUS), served]

    seen = [state()]
    for name in (OLD, OLD, NEW):
        database.promote(name)
        seen.append(state())
    seen += [list(database.rollback()), state()]
    refused = said(database, database.rollback, lambda: database.promote(CHAMPION))
    database.promote(NEW)
    return [seen, refused, state()]


def a_listing(database: Database) -> Any:
    found = [[one.name, one.bundle, sorted(one.aliases)] for one in database.collections()]
    return sorted(found)


def collecting_garbage(database: Database) -> Any:
    dropped = sorted(database.collect_garbage(keep=1))
    return [dropped, sorted(one.name for one in database.collections()), database.target(CHAMPION)]


def mistakes(database: Database) -> Any:
    gallery = database.gallery(NEW)
    one = vectors(1)
    wrong = (
        [Item("a b", "", "", "", item(1).columns)],
        [Item("a", "x" * 5000, "", "", item(1).columns)],
    )
    return said(
        database,
        lambda: database.gallery("products_nothing"),
        lambda: database.create_gallery("products", DIMENSION),
        *(lambda rows=rows: gallery.upsert(rows, one) for rows in wrong),
        lambda: gallery.upsert([item(1)], one * 2),
        lambda: gallery.search(one[:, :3], 1),
        *(lambda one_of=one_of: gallery.search(one, 1, one_of) for one_of in MISTAKES),
    )


STEPS: dict[str, Callable[[Database], Any]] = {
    step.__name__: step
    for step in (
        an_empty_database,
        a_new_collection,
        counts_and_ids,
        rows,
        a_search,
        a_search_for_more_than_there_is,
        filters,
        products,
        a_product_with_hundreds_of_near_photos,
        one_row,
        writing_again,
        deleting,
        properties,
        promotions,
        a_listing,
        collecting_garbage,
        mistakes,
    )
}


def walk(database: Database) -> dict[str, Any]:
    """What each step saw, as JSON gives it back, and under `index` how the database searches."""
    seen = {name: step(database) for name, step in STEPS.items()}
    seen["index"] = database.gallery(NEW).index["type"]
    told: dict[str, Any] = json.loads(json.dumps(seen, default=repr))
    return told


if __name__ == "__main__":
    with Database() as opened:
        Path(sys.argv[1]).write_text(json.dumps(walk(opened)), encoding="utf-8")
