"""What a shop loses that labels no query: fits on composed queries against fits on labelled ones.

    python -m benchmarks.composed_queries_against_labels /path/to/checkout --seeds 3

In a checkout whose pipeline ran on a labelled catalogue. The bundle's networks stay as they are;
weights, re-ranking and rank fusion are fitted on the labelled dev queries, on queries that stage
`compose_queries` makes of the same gallery (one fit per seed), or not at all, and all are judged on
the labelled queries that no fit has seen. Exact search, no Milvus.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from tasks.base.params import DEPTH, Params, load_params
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.calibration.exact_search import gallery_cosines, rank_gallery
from tasks.calibration.fit import Fitted, fit, fitted_queries, stored_reranker
from tasks.calibration.keypoint_matches import described, keypoint_settings, likeness
from tasks.compose_queries import compose_queries
from tasks.data.composed_queries import read_rows
from tasks.data.manifest import read_manifest, write_manifest
from tasks.data.splits import labelled, products_of, rows_of, spread
from tasks.metrics.ranking import Corrected, corrected, difference
from tasks.model_bundle.choose_precision import stored_photos
from tasks.model_bundle.int8_cost import see
from tasks.tokens.token_files import FeatureStore
from unbundle.encoding.model_bundle import Bundle
from unbundle.vision.keypoints import Keypoints


def main(
    root: Annotated[Path, typer.Argument(help="a checkout whose pipeline ran")],
    seeds: Annotated[int, typer.Option(help="times that queries are composed")] = 3,
) -> None:
    """Print a table: mAP@10 and coverage@10 by what was fitted on, and the loss to labels."""
    os.chdir(root)
    workspace, params = Workspace(root), load_params()
    manifest = read_rows(workspace)
    fitted_on = fitted_queries(manifest)
    queries = labelled(manifest, "test")
    if queries.empty:
        queries = labelled(manifest, "dev").drop(fitted_on.index)
    with tempfile.TemporaryDirectory() as folder:
        made = [_composed(workspace, manifest, params, seed, Path(folder)) for seed in range(seeds)]
        judge = Judge(workspace, manifest, queries, pd.concat([fitted_on, *made]), params)
        scores = {"labelled": judge.score(fitted_on), "params": judge.score(fitted_on[:0])}
        scores |= {f"composed, seed {seed}": judge.score(rows) for seed, rows in enumerate(made)}
    print("| fitted on | mAP@10 | coverage@10 | mAP@10 less labelled's | coverage@10 |")
    print("| --- | --- | --- | --- | --- |")
    for name, values in scores.items():
        cells = [*_cells(values, params), *_cells(difference(values, scores["labelled"]), params)]
        print(f"| {name} | {' | '.join(cells)} |")


class Judge:
    """Fits on some queries and scores others, on photos that are encoded once."""

    def __init__(
        self,
        workspace: Workspace,
        manifest: pd.DataFrame,
        queries: pd.DataFrame,
        dev: pd.DataFrame,
        params: Params,
    ) -> None:
        bundle = Bundle.open(workspace.bundle)
        self.gallery, self.queries = rows_of(manifest, "gallery"), queries
        self._params, self._settings = params, keypoint_settings(params)
        train = rows_of(manifest, "train")
        sample = train.iloc[spread(len(train), params.export.calibration_photos)]
        asked = pd.concat([self.gallery, queries, dev])
        store: FeatureStore = see(
            pd.concat([asked, sample]),
            workspace.catalogue,
            workspace.bundle,
            bundle.detector,
            bundle.backbone,
        )
        self._stored: StoredPhotos = stored_photos(store, workspace.bundle, params)
        self._local: dict[int, Keypoints]
        _, self._local = described(asked, sample, workspace.catalogue, store, self._settings)

    def score(self, dev: pd.DataFrame) -> Corrected:
        """The queries' scores with what `dev` fits; without rows the values of the params."""
        fitted = self._fit(dev)
        asked, gallery = self._stored.queries(self.queries, "both"), self.gallery
        heads, weights = self._stored.gallery(gallery), fitted.weights["both"]
        cosines = gallery_cosines(asked, heads, weights)
        rows = self._stored.best_rows(gallery)
        similar = likeness(heads, weights)
        reranker = replace(
            stored_reranker(self._local, asked, rows, self._settings, similar),
            weight=fitted.verification["both"],
            expansion=fitted.expansion.get("both", 0.0),
        )
        anew = reranker.rescored(cosines)
        names, ids = self.queries["id"].tolist(), gallery["id"].tolist()
        found = rank_gallery(names, asked, anew, ids, fitted.fusion)
        labels = dict(zip(names, self.queries["labels"], strict=True))
        products = dict(zip(ids, products_of(gallery), strict=True))
        return corrected(found, labels, products, [DEPTH])

    def _fit(self, dev: pd.DataFrame) -> Fitted:
        # The rows of test say that no half of dev is held back.
        rows = pd.concat([self.gallery, dev, self.queries.assign(split="test")])
        params, iou = self._params.export, self._params.evaluate.match_iou
        return fit(self._stored, rows, params, iou, self._local, self._settings)


def _composed(
    workspace: Workspace, manifest: pd.DataFrame, params: Params, seed: int, folder: Path
) -> pd.DataFrame:
    """Dev queries that `compose_queries` makes of the gallery, their images named absolutely."""
    mine = Workspace(folder / str(seed))
    unlabelled = rows_of(read_manifest(workspace.manifest), "gallery", "train")
    images = [str((workspace.catalogue / image).resolve()) for image in unlabelled["image"]]
    write_manifest(mine.manifest, unlabelled.assign(image=images))
    compose_queries(mine, params.model_copy(update={"seed": params.seed + seed}))
    rows = rows_of(read_rows(mine), "dev")
    images = [os.path.normpath(mine.catalogue.resolve() / image) for image in rows["image"]]
    names = [f"{name}-{seed}" for name in rows["id"]]
    return rows.assign(image=images, id=names)[[*manifest.columns.intersection(rows.columns)]]


def _cells(values: Corrected, params: Params) -> list[str]:
    summary = values.summary(DEPTH, params.evaluate.resamples, params.seed)
    return ["{mean:+.4f} ({low:+.4f} to {high:+.4f})".format(**one) for one in summary.values()]


if __name__ == "__main__":
    typer.run(main)
