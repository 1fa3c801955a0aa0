"""Rankings of the ablation's variants, all read out in the same way."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.calibration.exact_search import gallery_cosines, rank_gallery
from tasks.calibration.fit import dev_queries, fit_verification, fitted_queries, second_look
from tasks.calibration.fusion_fit import fit_merging
from tasks.calibration.keypoint_matches import described, keypoint_settings
from tasks.calibration.term_weights import DEPTH, Answers, fit_weights
from tasks.data.manifest import read_manifest, spread
from tasks.evaluation.queries import Queries, read_queries
from tasks.evaluation.variants import Readout
from tasks.metrics.ranking import bootstrap, corrected
from tasks.tokens.store import FeatureStore
from unbundle.ranking.embedding import TERMS, term_scores
from unbundle.vision.keypoints import Keypoints


@dataclass(frozen=True)
class Material:
    """What every variant reads.

    Attributes:
        manifest: the catalogue's clean rows.
        queries: what is asked.
        dev: the labelled dev rows that weights are fitted on.
        gallery: rows of the manifest.
        answers: the gallery's ids and labels.
    """

    manifest: pd.DataFrame
    queries: Queries
    dev: pd.DataFrame
    gallery: pd.DataFrame
    answers: Answers

    @classmethod
    def read(cls, workspace: Workspace, params: Params) -> "Material":
        """From the workspace's manifest."""
        manifest = read_manifest(workspace.manifest)
        gallery = manifest[manifest["split"] == "gallery"]
        answers = Answers.of(gallery["id"].tolist(), [row[0] for row in gallery["labels"]])
        queries = read_queries(workspace, params)
        return cls(manifest, queries, fitted_queries(manifest), gallery, answers)


def keypoints_of(workspace: Workspace, material: Material, params: Params) -> dict[int, Keypoints]:
    """Keypoints of all photos that a verified row compares."""
    store, settings = FeatureStore.open(workspace.features), keypoint_settings(params)
    train = material.manifest[material.manifest["split"] == "train"]
    sample = spread(train, params.export.calibration_photos)
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
        found = pd.DataFrame(corners, columns=["x0", "y0", "x1", "y1"])
        parts.append(found.assign(id=photo, score=np.float32(1)))
    together: pd.DataFrame = pd.concat(parts)[detected.columns.tolist()]
    return together


def rank(
    stored: StoredPhotos,
    material: Material,
    readout: Readout,
    params: Params,
    prints: Mapping[int, Keypoints] | None = None,
) -> Mapping[str, list[str]]:
    """Rank the gallery for every query with a readout's terms, fitted on dev where it says so.

    Args:
        stored: the network and the tokens.
        material: gallery and queries.
        readout: what is ranked.
        params: of the fits.
        prints: keypoints by row of the store, where the nearest photos are looked at once more.
    """
    gallery, photos = stored.gallery(material.gallery), stored.best_rows(material.gallery)
    weights = {term: float(term in readout.terms) for term in TERMS}
    merging = None
    look = None
    if readout.fitted and not material.dev.empty:
        asked = stored.queries(material.dev, readout.mode)
        known = dev_queries(material.dev, asked)
        scores = term_scores(asked.heads, gallery)
        usual = getattr(params.export.weights, readout.mode).model_dump()
        start = {term: usual[term] or 1.0 if weights[term] else 0.0 for term in TERMS}
        weights = fit_weights(known, scores, material.answers, start, params.export.grid)
        cosines = gallery_cosines(asked, gallery, weights)
        if prints is None:
            merging = fit_merging(known, cosines, material.answers, params.export.spreads)
        else:
            look = second_look(prints, asked, photos, keypoint_settings(params))
            look, merging = fit_verification(known, cosines, material.answers, look, params.export)
    asked = stored.queries(material.queries.frame, readout.mode)
    cosines = gallery_cosines(asked, gallery, weights)
    if prints is not None and look is not None:
        fresh = second_look(prints, asked, photos, keypoint_settings(params))
        cosines = replace(fresh, weight=look.weight).rescored(cosines)
    return rank_gallery(
        list(material.queries.labels), asked, cosines, material.answers.ids, merging
    )


def scored(title: str, rankings: Mapping[str, list[str]], queries: Queries) -> pd.DataFrame:
    """Corrected AP@10 and coverage@10 of every query, as rows of the table `title`."""
    values = corrected(rankings, queries.labels, queries.gallery, [DEPTH])
    return pd.DataFrame(
        {
            "row": title,
            "query": values.queries,
            "ap": values.average_precision[DEPTH],
            "coverage": values.coverage[DEPTH],
        }
    )


OURS = "CAPTURE"
"""The row that the others are compared with."""


def compare(table: pd.DataFrame, resamples: int, seed: int) -> list[dict[str, object]]:
    """One entry a row: both means and both differences, `OURS` less the row, with intervals.

    Args:
        table: columns row, query, ap, coverage and, where there is a network, parameters.
        resamples: of the bootstrap over queries.
        seed: of the bootstrap.
    """
    groups = dict(iter(table.groupby("row", sort=False)))
    ours = groups[OURS].set_index("query")
    rows: list[dict[str, object]] = []
    for name, group in groups.items():
        values = group.set_index("query").loc[ours.index]
        entry: dict[str, object] = {"row": name}
        if "parameters" in values and np.isfinite(values["parameters"].iloc[0]):
            entry["parameters"] = int(values["parameters"].iloc[0])
        for key, label in (("ap", "mAP"), ("coverage", "coverage")):
            column = values[key].to_numpy(np.float64)
            less = ours[key].to_numpy(np.float64) - column
            entry[label] = bootstrap(column, resamples, seed).as_json()
            entry[f"{label} of {OURS} less it"] = bootstrap(less, resamples, seed).as_json()
        rows.append(entry)
    return rows


def markdown(rows: list[dict[str, object]], title: str) -> str:
    """The table as Markdown."""
    lines = [f"# Ablation, {title}", "", "95 % bootstrap intervals; differences are paired.", ""]
    columns = table_columns()
    lines += ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    lines += ["| " + " | ".join(table_cells(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def table_columns() -> list[str]:
    """Heads of the table's columns, the rows' names first."""
    less = f"{OURS} less it"
    return ["", "parameters", f"mAP@{DEPTH}", less, f"coverage@{DEPTH}", less]


def table_cells(row: Mapping[str, object]) -> list[str]:
    """A row of `compare` as text, in the order of `table_columns`."""
    cells = [str(row["row"]), f"{row['parameters']:,}" if "parameters" in row else ""]
    for label in ("mAP", "coverage"):
        cells.append("{mean:.3f} ({low:.3f} to {high:.3f})".format(**_interval(row[label])))
        less = _interval(row[f"{label} of {OURS} less it"])
        ours = row["row"] == OURS
        cells.append("" if ours else "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format(**less))
    return cells


def _interval(value: object) -> dict[str, float]:
    assert isinstance(value, dict)
    return value
