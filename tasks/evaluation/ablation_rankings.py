"""Rankings of the ablation's variants, all by exact search over stored features."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tasks.base.params import DEPTH, Params
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.calibration.exact_search import gallery_cosines, rank_gallery
from tasks.calibration.fit import (
    dev_queries,
    fit_verification,
    fitted_queries,
    stored_reranker,
    without_junk_scores,
)
from tasks.calibration.fit_embedding_weights import AnswerKey, fit_weights, start_weights
from tasks.calibration.fit_rank_fusion import fit_fusion
from tasks.calibration.keypoint_matches import described, keypoint_settings, likeness
from tasks.data.box_columns import CORNERS
from tasks.data.composed_queries import read_rows
from tasks.data.splits import products_of, rows_of, spread
from tasks.evaluation.ablation_variants import TableRow
from tasks.evaluation.queries import LabelledQueries, read_queries
from tasks.metrics.ranking import corrected
from tasks.tokens.token_files import FeatureStore
from unbundle.ranking.embedding_parts import TERMS, term_scores
from unbundle.vision.keypoints import Keypoints


@dataclass(frozen=True)
class AblationData:
    """What every variant reads.

    Attributes:
        manifest: the catalogue's clean rows.
        queries: what is asked.
        dev: the labelled dev rows that weights are fitted on.
        gallery: rows of the manifest.
        answers: the gallery's ids and labels.
    """

    manifest: pd.DataFrame
    queries: LabelledQueries
    dev: pd.DataFrame
    gallery: pd.DataFrame
    answers: AnswerKey

    @classmethod
    def read(cls, workspace: Workspace, params: Params) -> "AblationData":
        """From the workspace's manifest."""
        manifest = read_rows(workspace)
        gallery = rows_of(manifest, "gallery")
        answers = AnswerKey.of(gallery["id"].tolist(), products_of(gallery))
        queries = read_queries(workspace, params)
        return cls(manifest, queries, fitted_queries(manifest), gallery, answers)


def keypoints_of(
    workspace: Workspace, material: AblationData, params: Params
) -> dict[int, Keypoints]:
    """Keypoints, by row of the feature store, of all photos that a verified row matches."""
    store, settings = FeatureStore.open(workspace.features), keypoint_settings(params)
    train = rows_of(material.manifest, "train")
    sample = train.iloc[spread(len(train), params.export.calibration_photos)]
    rows = [material.gallery, material.dev, material.queries.frame]
    asked = pd.concat(rows).drop_duplicates("id")
    return described(asked, sample, workspace.catalogue, store, settings)[1]


def other_boxes(asked: pd.DataFrame, detected: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Boxes of queries instead of the detector's, as `proposals.parquet` holds them.

    Args:
        asked: rows of the manifest.
        detected: the proposals; a photo without true boxes keeps its own.
        kind: `whole` takes each photo as one box, `true` the annotated ones.
    """
    parts = []
    columns = (asked[name].tolist() for name in ("id", "width", "height", "boxes"))
    for photo, width, height, known in zip(*columns, strict=True):
        boxes = [[0, 0, width, height]] if kind == "whole" else known
        if boxes is None:
            parts.append(detected[detected["id"] == photo])
            continue
        corners = np.asarray([list(box) for box in boxes], np.float32)
        found = pd.DataFrame(corners, columns=list(CORNERS))
        parts.append(found.assign(id=photo, score=np.float32(1)))
    together: pd.DataFrame = pd.concat(parts)[detected.columns.tolist()]
    return together


def rank(
    stored: StoredPhotos,
    material: AblationData,
    row: TableRow,
    params: Params,
    local: Mapping[int, Keypoints] | None = None,
) -> Mapping[str, list[str]]:
    """Rank the gallery for every query as a row of the table says, fitted on dev where it says so.

    Args:
        stored: the network and the tokens.
        material: gallery and queries.
        row: terms, modality, boxes, and whether weights are fitted and photos verified.
        params: of the fits.
        local: keypoints by row of the store, where the nearest photos are re-ranked.

    Returns:
        Gallery ids, best first, by query id.
    """
    gallery, photos = stored.gallery(material.gallery), stored.best_rows(material.gallery)
    weights = {term: float(term in row.terms) for term in TERMS}
    fusion = None
    reranker = None
    if row.fitted and not material.dev.empty:
        asked = stored.queries(material.dev, row.mode)
        known = dev_queries(material.dev, asked)
        scores = term_scores(asked.heads, gallery)
        usual = start_weights(params.export, row.mode)
        start = {term: usual[term] or 1.0 if weights[term] else 0.0 for term in TERMS}
        weights = fit_weights(known, scores, material.answers, start, params.export.grid)
        cosines = without_junk_scores(
            gallery_cosines(asked, gallery, weights), known, material.answers
        )
        if local is None:
            fusion = fit_fusion(known, cosines, material.answers, params.export.spreads)
        else:
            reranker = stored_reranker(
                local, asked, photos, keypoint_settings(params), likeness(gallery, weights)
            )
            reranker, fusion = fit_verification(
                known, cosines, material.answers, reranker, params.export
            )
    asked = stored.queries(material.queries.frame, row.mode)
    known = dev_queries(material.queries.frame, asked)
    cosines = without_junk_scores(gallery_cosines(asked, gallery, weights), known, material.answers)
    if local is not None and reranker is not None:
        settings, similar = keypoint_settings(params), likeness(gallery, weights)
        fresh = stored_reranker(local, asked, photos, settings, similar)
        fitted = replace(fresh, weight=reranker.weight, expansion=reranker.expansion)
        cosines = fitted.rescored(cosines)
    return rank_gallery(list(material.queries.labels), asked, cosines, material.answers.ids, fusion)


def scored(title: str, rankings: Mapping[str, list[str]], queries: LabelledQueries) -> pd.DataFrame:
    """Corrected AP@10 and coverage@10 of every query, as rows of the table `title`."""
    values = corrected(rankings, queries.labels, queries.gallery, [DEPTH], queries.junk)
    return pd.DataFrame(
        {
            "row": title,
            "query": values.queries,
            "ap": values.average_precision[DEPTH],
            "coverage": values.coverage[DEPTH],
        }
    )
