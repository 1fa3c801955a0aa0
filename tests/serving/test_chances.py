from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from bundles import scene

from serving import ProductSearch
from serving.bundle import Bundle, KnownSettings
from serving.chances import chances
from serving.embedding import split_parts
from serving.encoder import Encoded
from serving.gallery import Found
from serving.known import NEAREST, SIGNS, probability
from tasks.open_set import trials
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def search(served: Workspace) -> Iterator[ProductSearch]:
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def bundle(search: ProductSearch) -> Bundle:
    """The champion's, calibrated so that every sign counts, for photos with a title only."""
    random = np.random.default_rng(5)
    weights = dict(zip((*SIGNS, "bias"), random.normal(size=len(SIGNS) + 1), strict=True))
    known = {"both": KnownSettings(weights=weights, threshold=0.5)}
    return search.encoder.bundle.model_copy(update={"known": known})


def nearest(search: ProductSearch, encoded: Encoded) -> list[Found]:
    return search.gallery.nearest(encoded.vectors, 2, NEAREST)


def test_serving_tells_what_the_evaluation_measures(search: ProductSearch, bundle: Bundle) -> None:
    """The signs of a search are those of all rows, as `tasks.open_set` computes them."""
    encoded = search.encoder.encode(scene([3, 1, 5]), "red cream 3")
    (told,) = chances(search.gallery, bundle, [encoded], [nearest(search, encoded)])
    rows = search.gallery.rows
    parts = split_parts(rows.vectors, bundle.embedding.parts, bundle.embedding.dimensions)
    labels = np.asarray([hit.label for hit in rows.hits])
    exact = trials(
        encoded.vectors @ rows.vectors.T,
        encoded.heads,
        parts,
        labels,
        ["product-3"] * len(encoded.scores),
        encoded.modality,
    )
    expected = [probability(row, bundle.known["both"].weights) for row in exact.signs[exact.known]]
    assert told == pytest.approx(expected, abs=1e-4)
    assert len(set(told)) == len(told)


def test_a_modality_without_calibration_has_no_probability(
    search: ProductSearch, bundle: Bundle
) -> None:
    asked = [
        search.encoder.encode(scene([3])),
        search.encoder.encode(scene([3]), "red"),
        search.encoder.encode(None, "red"),
    ]
    found = [nearest(search, encoded) for encoded in asked]
    (photo,), (both,), (title,) = chances(search.gallery, bundle, asked, found)
    assert (photo, title) == (None, None)
    assert both is not None


def test_a_photo_that_was_deleted_meanwhile_does_not_count(
    search: ProductSearch, bundle: Bundle
) -> None:
    encoded = search.encoder.encode(scene([3]), "red")
    (near,) = nearest(search, encoded)
    gone = replace(near.photos[0], id="gone")
    with_it = Found(near.products, [gone, *near.photos[1:]])
    without = Found(near.products, near.photos[1:])
    first, second = (
        chances(search.gallery, bundle, [encoded], [[each]]) for each in (with_it, without)
    )
    assert first == second
    assert chances(search.gallery, bundle, [encoded], [[Found([], [gone])]]) == [[0.0]]
    assert chances(search.gallery, bundle, [encoded], [[Found([], [])]]) == [[0.0]]
