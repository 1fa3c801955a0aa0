"""One variant of the ablation: trained on the road's features, read out in several ways.

    python -m tasks.ablation VARIANT

All variants share catalogue, boxes, visual tokens, tokenizer, schedule and the way instances are
scored; `params.yaml` says under `ablation` what differs. `dvc repro ablation/dvc.yaml` runs all of
them and `tasks.ablation_table` compares.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.capture import CaptureModel
from models.onnx_export import CaptureHeads
from tasks.base.command import run_stage
from tasks.base.params import Params, Readout, override
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import Arrays, StoredPhotos
from tasks.calibration.exact_search import gallery_cosines, rank_gallery
from tasks.calibration.fit import (
    dev_queries,
    fit_merging,
    fit_verification,
    fitted_queries,
    second_look,
)
from tasks.calibration.keypoint_matches import described
from tasks.calibration.term_weights import DEPTH, Answers, fit_weights
from tasks.data.manifest import read_manifest, spread
from tasks.evaluation.queries import Queries, read_queries
from tasks.evaluation.unseen import naming_unseen
from tasks.features import extract
from tasks.metrics.ranking import corrected
from tasks.pretrain import checkpoint_name, tokenizer_of
from tasks.pretraining.batches import Pairs
from tasks.pretraining.training import train
from tasks.tokens.store import FeatureStore
from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError
from unbundle.encoding.bundle import TOKENIZER
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


def ablation(workspace: Workspace, params: Params, name: str) -> None:
    """Train the variant and write `data/ablation/<name>.parquet`: AP and coverage by query.

    A variant that changes nothing of the training is the road's own network.

    Raises:
        UserError: params know no such variant.
    """
    variants = params.ablation.variants
    if name not in variants:
        raise UserError(f"variant {name}: params.yaml: ablation.variants has {', '.join(variants)}")
    variant = variants[name]
    changed = override(params, variant.pretrain)
    material = Material.read(workspace, params)
    manifest = material.manifest
    if variant.seen_only:
        manifest = manifest[~naming_unseen(manifest, params.ablation.unseen)]
    if variant.pretrain or variant.seen_only:
        network, tokenizer = _trained(workspace, manifest, changed, name)
    else:
        network = CaptureModel.from_pretrained(workspace.capture).eval()
        tokenizer = Tokenizer.from_file(str(workspace.capture / TOKENIZER))
    facts = {"parameters": sum(x.numel() for x in network.parameters())}
    tables = []
    for title, readout in variant.rows.items():
        stored = _stored(workspace, material, readout, network, tokenizer, changed)
        prints = _prints(workspace, material, changed) if readout.verified else None
        rankings = rank(stored, material, readout, changed, prints)
        tables.append(scored(title, rankings, material.queries).assign(**facts))
        console.print(f"  {title}: mAP@10 {tables[-1]['ap'].mean():.3f}")
    out = workspace.ablation / f"{name}.parquet"
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as temporary:
        pd.concat(tables).to_parquet(temporary, index=False)


def _trained(
    workspace: Workspace, manifest: pd.DataFrame, params: Params, name: str
) -> tuple[CaptureModel, Tokenizer]:
    titles = manifest.loc[manifest["split"] == "train", "caption"].tolist()
    tokenizer = tokenizer_of(params.pretrain, titles)
    stores = FeatureStore.open(workspace.features), FeatureStore.open(workspace.views)
    pairs = Pairs(manifest, *stores, tokenizer, params.pretrain)
    folder = workspace.checkpoints / "ablation" / name
    run = train(pairs, params, folder / checkpoint_name(workspace, params, manifest["id"].tolist()))
    shutil.rmtree(folder, ignore_errors=True)
    return run.network.capture.eval(), tokenizer


def _stored(
    workspace: Workspace,
    material: Material,
    readout: Readout,
    network: CaptureModel,
    tokenizer: Tokenizer,
    params: Params,
) -> StoredPhotos:
    heads = CaptureHeads(network)

    @torch.inference_mode()
    def run(inputs: Arrays) -> list[NDArray[Any]]:
        outputs = heads(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return [output.numpy() for output in outputs]

    store = FeatureStore.open(workspace.features)
    if readout.boxes != "detector":
        manifest = material.manifest.set_index("id")
        asked = pd.concat([material.dev, material.queries.frame]).drop_duplicates("id")
        boxes = other_boxes(asked, store.index, readout.boxes)
        gallery = store.index[store.index["id"].isin(set(material.gallery["id"]))]
        store = extract(workspace, pd.concat([gallery, boxes]), manifest, params.features)
    return StoredPhotos(
        store, run, tokenizer, params.pretrain.model.title_tokens, params.features.batch
    )


def _prints(workspace: Workspace, material: Material, params: Params) -> dict[int, Keypoints]:
    """Keypoints of all photos that a verified row compares."""
    store, settings = FeatureStore.open(workspace.features), params.export.keypoints
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
            look = second_look(prints, asked, photos, params.export.keypoints)
            look, merging = fit_verification(known, cosines, material.answers, look, params.export)
    asked = stored.queries(material.queries.frame, readout.mode)
    cosines = gallery_cosines(asked, gallery, weights)
    if prints is not None and look is not None:
        fresh = second_look(prints, asked, photos, params.export.keypoints)
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


def _from_arguments(workspace: Workspace, params: Params) -> None:
    names = [argument for argument in sys.argv[1:] if argument != "--debug"]
    if len(names) != 1:
        known = ", ".join(params.ablation.variants)
        raise UserError(f"give one variant of params.yaml's ablation.variants: {known}")
    ablation(workspace, params, names[0])


if __name__ == "__main__":
    run_stage(_from_arguments)
