from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tasks.base.workspace import Workspace
from tasks.calibration.keypoint_matches import StoredReranker, comparing, likeness
from tasks.calibration.open_set_trials import trials
from tests.support.tiny_model_bundle import scene
from unbundle import ProductSearch
from unbundle.encoding.encoded_query import EncodedQuery
from unbundle.encoding.model_bundle import Bundle, OpenSetSettings
from unbundle.index.gallery_collection import Neighbours
from unbundle.query.rerank import rerank
from unbundle.query.score_open_set import known_probabilities
from unbundle.ranking.embedding_parts import split_parts
from unbundle.ranking.open_set_model import FEATURES, Tree, probability
from unbundle.vision.keypoints import Keypoints


@pytest.fixture(scope="module")
def search(served: Workspace) -> Iterator[ProductSearch]:
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def bundle(search: ProductSearch) -> Bundle:
    """The champion's, calibrated so that every feature counts, for photos with a title only."""
    random = np.random.default_rng(5)
    weights = dict(zip((*FEATURES, "bias"), random.normal(size=len(FEATURES) + 1), strict=True))
    tree = Tree(
        sign=(1, -1, -1),
        limit=(0.1, 0, 0),
        left=(1, -1, -1),
        right=(2, -1, -1),
        value=(0, 0.5, -0.5),
    )
    open_set = {"both": OpenSetSettings(weights=weights, trees=(tree,), threshold=0.5)}
    return search.encoder.bundle.model_copy(update={"open_set": open_set})


def nearest(search: ProductSearch, query: EncodedQuery) -> list[Neighbours]:
    photos = search.encoder.bundle.keypoints.photos
    return search.gallery.nearest(query.vectors, 2, photos)


def told(
    search: ProductSearch, bundle: Bundle, query: EncodedQuery, found: list[Neighbours]
) -> list[float | None]:
    return known_probabilities(bundle, query, rerank(search.gallery, bundle, query, found))


def test_serving_tells_what_the_evaluation_measures(search: ProductSearch, bundle: Bundle) -> None:
    """The features of a search are those of all rows, as `open_set_trials` computes them."""
    query = search.encoder.encode(scene([3, 1, 5]), "red cream 3")
    found = told(search, bundle, query, nearest(search, query))
    rows = search.gallery.rows
    parts = split_parts(rows.vectors, bundle.embedding.parts, bundle.embedding.dimensions)
    labels = np.asarray([hit.label for hit in rows.hits])
    exact = trials(
        query.vectors @ rows.vectors.T,
        query.heads,
        parts,
        labels,
        ["product-3"] * len(query.scores),
        query.modality,
        StoredReranker(
            comparing(
                query.keypoints,
                [Keypoints.unpack(text, bundle.keypoints.dimension) for text in rows.keypoints],
                bundle.keypoints,
            ),
            [len(one) for one in query.keypoints],
            bundle.verification["both"],
            bundle.keypoints.photos,
            likeness(parts, bundle.embedding.weights["both"]),
            bundle.expansion["both"],
        ),
    )
    settings = bundle.open_set["both"]
    expected = [
        probability(row, settings.weights, settings.trees) for row in exact.features[exact.known]
    ]
    assert found == pytest.approx(expected, abs=1e-4)
    assert len(set(found)) == len(found)


def test_a_modality_without_calibration_has_no_probability(
    search: ProductSearch, bundle: Bundle
) -> None:
    encode = search.encoder.encode
    asked = [encode(scene([3])), encode(scene([3]), "red"), encode(None, "red")]
    (photo,), (both,), (title,) = (
        told(search, bundle, query, nearest(search, query)) for query in asked
    )
    assert (photo, title) == (None, None)
    assert both is not None


def test_a_photo_that_was_deleted_meanwhile_does_not_count(
    search: ProductSearch, bundle: Bundle
) -> None:
    query = search.encoder.encode(scene([3]), "red")
    (near,) = nearest(search, query)
    gone = replace(near.photos[0], id="gone")
    with_it = Neighbours(near.products, [gone, *near.photos[1:]])
    without = Neighbours(near.products, near.photos[1:])
    first, second = (told(search, bundle, query, [each]) for each in (with_it, without))
    assert first == second
    assert told(search, bundle, query, [Neighbours([], [gone])]) == [0.0]
    assert told(search, bundle, query, [Neighbours([], [])]) == [0.0]
