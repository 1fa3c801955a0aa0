"""Diagnosis of the rankings: recall of the index, causes of misses, open-set trials, baselines."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.base.params import DEPTH, Evaluate
from tasks.base.progress import track
from tasks.calibration.exact_search import OUT_OF_REACH, within_reach
from tasks.calibration.keypoint_matches import StoredReranker, comparing, likeness
from tasks.calibration.open_set_trials import Trials, products, trials
from tasks.data.composed_queries import without_junk
from tasks.evaluation.baselines import BASELINES, BaselineGallery, TitleIndex, rank_baselines
from tasks.evaluation.queries import LabelledQueries, LabelledQuery, Retrieved
from tasks.metrics.miss_causes import Miss, QueryOutcome, attribute
from unbundle.encoding.model_bundle import Bundle
from unbundle.index.gallery_collection import Rows
from unbundle.query.search import Ranking
from unbundle.ranking.embedding_parts import split_parts
from unbundle.vision.keypoints import Keypoints

_SAME_SCORE = 1e-5
"""Products of unit vectors in float32 differ by less than this with the order of the sums."""


@dataclass
class Diagnosis:
    """What explains a collection's figures.

    Attributes:
        recalls: `index_recall` of every instance of every query.
        misses: every product that was not found, and why.
        trials: open-set trials by query id.
        baselines: rankings by query id, by the baseline's name.
    """

    recalls: list[float] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    trials: dict[str, Trials] = field(default_factory=dict)
    baselines: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: {name: {} for name in BASELINES}
    )


def diagnose(
    queries: LabelledQueries,
    found: Retrieved,
    rows: Rows,
    bundle: Bundle,
    params: Evaluate,
) -> Diagnosis:
    """Search every instance exactly, explain the misses, and rank by the baselines.

    Args:
        queries: what was asked.
        found: how the index answered, a ranking per query.
        rows: the whole collection.
        bundle: that made it.
        params: `depth` of the baselines' rankings, `match_iou`.
    """
    embedding, settings = bundle.embedding, bundle.keypoints
    parts = split_parts(rows.vectors, embedding.parts, embedding.dimensions)
    local = [Keypoints.unpack(text, settings.dimension) for text in rows.keypoints]
    gallery = BaselineGallery(rows.ids, parts["raw"], [hit.caption for hit in rows.hits])
    titles = TitleIndex(gallery.captions, queries.corpus)
    alike = {mode: likeness(parts, weights) for mode, weights in embedding.weights.items()}
    ids = rows.ids
    places = {item: place for place, item in enumerate(ids)}
    labels = np.asarray([queries.gallery.get(item, "") for item in ids])
    diagnosis = Diagnosis()
    asked = list(zip(queries.rows, found.rankings, strict=True))
    for query, ranking in track(asked, "exact search and baselines"):
        scores = ranking.encoded.vectors @ rows.vectors.T
        diagnosis.recalls += [
            index_recall(names, row, ids, DEPTH)
            for names, row in zip(ranking.searched, scores, strict=True)
        ]
        encoded = ranking.encoded
        reranker = StoredReranker(
            comparing(encoded.keypoints, local, settings),
            [len(one) for one in encoded.keypoints],
            bundle.verification.get(encoded.modality, 0.0),
            settings.photos,
            alike[encoded.modality],
            bundle.expansion.get(encoded.modality, 0.0),
        )
        junk = [places[item] for item in queries.junk[query.id] if item in places]
        scores[:, junk] = OUT_OF_REACH
        exact = [_exact(place, row, reranker) for place, row in enumerate(scores)]
        names = [[ids[item] for item in items] for items in exact]
        trace = _trace(query, ranking, names, queries, DEPTH)
        diagnosis.misses += attribute(trace, params.match_iou)
        shown = products(encoded.boxes, query.labels, query.boxes, params.match_iou)
        diagnosis.trials[query.id] = trials(
            scores,
            encoded.heads,
            parts,
            labels,
            shown,
            encoded.modality,
            reranker,
        )
        ranked = rank_baselines(
            ranking.encoded.heads["raw"], titles.scores(query.caption), gallery, params.depth
        )
        for name, baseline in ranked.items():
            diagnosis.baselines[name][query.id] = without_junk(baseline, queries.junk[query.id])
    return diagnosis


def _exact(
    instance: int, scores: NDArray[np.float32], reranker: StoredReranker
) -> NDArray[np.int64]:
    """Gallery rows of an instance by exact search and re-ranking, best first."""
    items, *_ = reranker(instance, within_reach(scores), scores)
    return items


def index_recall(
    found: Sequence[str], scores: NDArray[np.float32], ids: Sequence[str], k: int
) -> float:
    """Share of an exact search's first k hits that an index finds among its first k.

    An item that scores as high as the k-th counts as one of them, whatever its place.

    Args:
        found: the index's ranking.
        scores: exact scores `[G]`.
        ids: of the G items.
        k: places.
    """
    count = min(k, len(ids))
    limit = np.partition(scores, -count)[-count] - _SAME_SCORE
    good = {ids[int(row)] for row in np.flatnonzero(scores >= limit)}
    return min(count, len(good.intersection(found[:k]))) / count


def _trace(
    query: LabelledQuery,
    ranking: Ranking,
    exact: Sequence[Sequence[str]],
    queries: LabelledQueries,
    k: int,
) -> QueryOutcome:
    def labels(ids: Sequence[str]) -> list[str]:
        kept = without_junk(ids, queries.junk[query.id])[:k]
        return [queries.gallery[item] for item in kept if item in queries.gallery]

    return QueryOutcome(
        query=query.id,
        labels=query.labels,
        boxes=query.boxes,
        proposals=ranking.encoded.boxes,
        exact=[labels(ids) for ids in exact],
        index=[labels(ids) for ids in ranking.rankings],
        merged=labels(ranking.merged),
    )
