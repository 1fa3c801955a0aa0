"""Re-ranking for fits and evaluation: keypoints of stored boxes, matched in memory.

`described` computes the keypoints, `comparing` matches them, `StoredReranker` ranks by the matches
as `unbundle.query.rerank` does for clients. A pair that was matched once is never matched again.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.base.params import Params, checked
from tasks.base.progress import track
from tasks.calibration.exact_search import within_reach
from tasks.data.box_columns import boxes_of
from tasks.tokens.token_files import FeatureStore
from unbundle.ranking.embedding_parts import PARTS, Vectors, join_parts
from unbundle.ranking.query_expansion import expansion, photos_as_queries, sources
from unbundle.vision.geometric_verification import Evidence, bonus, verify
from unbundle.vision.imaging import open_photo
from unbundle.vision.keypoints import (
    Keypoints,
    KeypointSettings,
    Projection,
    fit_projection,
    keypoints,
    rootsift,
)

Compare = Callable[[int, Sequence[int]], list[Evidence]]
"""From an instance and some gallery items, all by row number, to the evidence of each item."""

Similar = Callable[[NDArray[np.int64], NDArray[np.int64]], Vectors]
"""From some gallery items and others, both by row number, to the cosines `[S, P]` of the first,
asked as queries, with the others."""


@dataclass(frozen=True)
class StoredReranker:
    """`unbundle.query.rerank` over arrays of scores: N instances, M gallery items.

    Attributes:
        compare: verifies items against an instance, see `comparing`.
        keypoints: number of keypoints of each instance, `[N]`.
        weight: of `geometric_verification.bonus` in a score.
        photos: how many of the nearest items are verified.
        similar: of the gallery, see `likeness`; None where nothing is expanded.
        expansion: weight of `unbundle.ranking.query_expansion.expansion` in a score.
    """

    compare: Compare
    keypoints: Sequence[int]
    weight: float
    photos: int
    similar: Similar | None = None
    expansion: float = 0.0

    def __call__(
        self, instance: int, order: NDArray[np.int64], scores: Vectors
    ) -> tuple[NDArray[np.int64], Vectors, list[Evidence]]:
        """Verify an instance's nearest items and rank them anew.

        Args:
            instance: its row.
            order: items by number, best first; those beyond the first `photos` are left out.
            scores: of all items before re-ranking, `[M]`.

        Returns:
            Of the P = min(`photos`, `len(order)`) verified items, best first: their numbers `[P]`,
            their new scores `[P]` and their evidence.
        """
        items = order[: self.photos]
        evidence = self.compare(instance, items.tolist())
        added = np.asarray([bonus(one.inliers) for one in evidence], np.float32)
        anew = scores[items] + np.float32(self.weight) * added
        best = np.argsort(-anew, kind="stable")
        items, anew, evidence = items[best], anew[best], [evidence[place] for place in best]
        sure = sources([one.inliers for one in evidence])
        if self.similar is None or not self.expansion or not sure:
            return items, anew, evidence
        added = expansion(anew[sure], self.similar(items[sure], items))
        anew = anew + np.float32(self.expansion) * added
        best = np.argsort(-anew, kind="stable")
        return items[best], anew[best], [evidence[place] for place in best]

    def of(self, instances: Sequence[int]) -> "StoredReranker":
        """The same for some instances: row i of the result is row `instances[i]` of this one."""
        return replace(
            self,
            compare=lambda instance, items: self.compare(instances[instance], items),
            keypoints=[self.keypoints[instance] for instance in instances],
        )

    def rescored(self, scores: Vectors) -> Vectors:
        """Scores `[N, M]` of all instances with all items, those of verified items re-ranked."""
        orders = [within_reach(row) for row in scores]
        anew = scores.copy()
        with ThreadPoolExecutor() as pool:
            rows = pool.map(self, range(len(scores)), orders, scores)
            seen = track(rows, "local features matched, instances", total=len(scores))
            for instance, (items, values, _) in enumerate(seen):
                anew[instance, items] = values
        return anew


def likeness(parts: Mapping[str, Vectors], weights: Mapping[str, float]) -> Similar:
    """The `Similar` of a gallery.

    Args:
        parts: unit rows `[M, d]` by part; further heads do not count.
        weights: by term, of the queries that are expanded.
    """

    def similar(asked: NDArray[np.int64], others: NDArray[np.int64]) -> Vectors:
        # Of the few that are asked for: all of them would be the gallery's vectors twice more.
        queries = photos_as_queries({part: parts[part][asked] for part in PARTS}, PARTS, weights)
        items = join_parts({part: parts[part][others] for part in PARTS}, PARTS)
        return np.asarray(queries @ items.T, np.float32)

    return similar


def keypoint_settings(params: Params) -> KeypointSettings:
    """The keypoint settings of the bundle that these parameters make.

    Raises:
        UserError: so many keypoints of so many numbers are more than an index's field holds.
    """
    values = params.export.keypoints.model_dump()
    return checked(KeypointSettings, values, "params.yaml: export.keypoints.")


def described(
    rows: pd.DataFrame,
    sample: pd.DataFrame,
    catalogue: Path,
    store: FeatureStore,
    settings: KeypointSettings,
) -> tuple[Projection, dict[int, Keypoints]]:
    """Fit the projection of descriptors on a sample, and compute the keypoints of some photos.

    Args:
        rows: of the manifest; keypoints are computed for all proposals of these photos.
        sample: rows of the manifest; the best proposal of each photo gives descriptors to fit on.
        catalogue: folder that images are relative to.
        store: with the proposals of `rows` and `sample`.
        settings: of the bundle.

    Returns:
        The projection `[128, D]`, and keypoints by row of the store.
    """
    places = store.rows_by_id()
    boxes = boxes_of(store.index)
    raw = (
        rootsift(open_photo(catalogue / image), boxes[places[name][0]], settings).descriptors
        for name, image in zip(sample["id"], sample["image"], strict=True)
    )
    projection = fit_projection(list(raw), settings.dimension)
    return projection, _keypoints(rows, catalogue, store, settings, projection)


def _keypoints(
    rows: pd.DataFrame,
    catalogue: Path,
    store: FeatureStore,
    settings: KeypointSettings,
    projection: Projection,
) -> dict[int, Keypoints]:
    names, images = rows["id"].tolist(), rows["image"].tolist()
    places = store.rows_by_id()
    boxes = boxes_of(store.index)

    def found_on(name: str, image: str) -> list[Keypoints]:
        photo = open_photo(catalogue / image)
        return keypoints(photo, boxes[places[name]], settings, projection)

    # OpenCV releases the interpreter's lock.
    with ThreadPoolExecutor() as pool:
        found = track(pool.map(found_on, names, images), "keypoints, photos", total=len(names))
        return {
            row: one
            for name, local in zip(names, found, strict=True)
            for row, one in zip(places[name], local, strict=True)
        }


def comparing(
    instances: Sequence[Keypoints], items: Sequence[Keypoints], settings: KeypointSettings
) -> Compare:
    """A `Compare` over keypoints in memory; each pair is matched once, then remembered.

    Args:
        instances: keypoints of the N instances.
        items: keypoints of the M gallery items.
        settings: of the bundle.
    """
    kept: dict[tuple[int, int], Evidence] = {}

    def compare(instance: int, chosen: Sequence[int]) -> list[Evidence]:
        fresh = [item for item in chosen if (instance, item) not in kept]
        seen = verify(instances[instance], [items[item] for item in fresh], settings)
        kept.update(zip(((instance, item) for item in fresh), seen, strict=True))
        return [kept[instance, item] for item in chosen]

    return compare
