"""One variant of the ablation: trained on the pipeline's features, searched in several ways.

    python -m tasks.ablation VARIANT
    python -m tasks.ablation --table    # all variants side by side

All variants share catalogue, boxes, visual tokens, tokenizer, schedule and the way instances are
scored; `ablation/variants.yaml` says what differs. `dvc repro ablation/dvc.yaml` runs all of
them and then compares.
"""

import shutil
import sys
from typing import Any

import pandas as pd
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.capture.network import CaptureModel
from models.capture.onnx_heads import CaptureHeads
from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.calibration.fit_untrained_parts import fit_untrained_parts
from tasks.data.splits import rows_of
from tasks.evaluation.ablation_rankings import AblationData, keypoints_of, other_boxes, rank, scored
from tasks.evaluation.ablation_table import write_table
from tasks.evaluation.ablation_variants import MATRIX, Ablation, TableRow, override
from tasks.evaluation.unseen_products import naming_unseen
from tasks.pretraining.batches import Pairs
from tasks.pretraining.capture_with_losses import CaptureForPretraining
from tasks.pretraining.checkpoint_name import checkpoint_name
from tasks.pretraining.choose_tokenizer import tokenizer_of
from tasks.pretraining.published_capture_with_losses import ReleaseForPretraining
from tasks.pretraining.training import train
from tasks.tokens.run_backbone import extract
from tasks.tokens.token_files import FeatureStore
from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError
from unbundle.encoding.capture_inputs import Arrays
from unbundle.encoding.model_bundle import TOKENIZER

_KINDS = {"unbundle": CaptureForPretraining, "release": ReleaseForPretraining}


def ablation(workspace: Workspace, params: Params, matrix: Ablation, name: str) -> None:
    """Train the variant and write `data/ablation/<name>.parquet`: AP and coverage by query.

    A variant that changes nothing of the training is the pipeline's own network.

    Raises:
        UserError: the matrix has no such variant.
    """
    if name not in matrix.variants:
        raise UserError(f"variant {name}: {MATRIX} has {', '.join(matrix.variants)}")
    variant = matrix.variants[name]
    changed = override(params, variant.pretrain)
    material = AblationData.read(workspace, params)
    manifest = material.manifest
    if variant.seen_only:
        manifest = manifest[~naming_unseen(manifest, matrix.unseen)]
    if variant.retrained:
        kind = _KINDS[variant.architecture]
        network, tokenizer = _trained(workspace, manifest, changed, kind, name)
    else:
        network = CaptureModel.from_pretrained(workspace.capture).eval()
        tokenizer = Tokenizer.from_file(str(workspace.capture / TOKENIZER))
    facts = {"parameters": sum(x.numel() for x in network.parameters())}
    tables = []
    for title, row in variant.rows.items():
        stored = _stored(workspace, material, row, network, tokenizer, changed)
        local = keypoints_of(workspace, material, changed) if row.verified else None
        rankings = rank(stored, material, row, changed, local)
        tables.append(scored(title, rankings, material.queries).assign(**facts))
        console.print(f"  {title}: mAP@10 {tables[-1]['ap'].mean():.3f}")
    out = workspace.ablation / f"{name}.parquet"
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as temporary:
        pd.concat(tables).to_parquet(temporary, index=False)


def _trained(
    workspace: Workspace,
    manifest: pd.DataFrame,
    params: Params,
    kind: type[CaptureForPretraining],
    name: str,
) -> tuple[CaptureModel, Tokenizer]:
    titles = rows_of(manifest, "train")["caption"].tolist()
    tokenizer = tokenizer_of(params.pretrain, titles)
    stores = FeatureStore.open(workspace.features), FeatureStore.open(workspace.views)
    pairs = Pairs(manifest, *stores, tokenizer, params.pretrain)
    folder = workspace.checkpoints / "ablation" / name
    checkpoint = checkpoint_name(workspace, params, manifest["id"].tolist(), kind)
    run = train(pairs, params, folder / checkpoint, kind)
    shutil.rmtree(folder, ignore_errors=True)
    return run.network.capture.eval(), tokenizer


def _stored(
    workspace: Workspace,
    material: AblationData,
    row: TableRow,
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
    untrained = fit_untrained_parts(store, material.manifest, params.export.lexical_dimension)
    if row.boxes != "detector":
        manifest = material.manifest.set_index("id")
        asked = pd.concat([material.dev, material.queries.frame]).drop_duplicates("id")
        boxes = other_boxes(asked, store.index, row.boxes)
        gallery = store.index[store.index["id"].isin(set(material.gallery["id"]))]
        store = extract(workspace, pd.concat([gallery, boxes]), manifest, params.features)
    longest = params.pretrain.model.title_tokens
    return StoredPhotos(store, run, tokenizer, longest, untrained, params.features.batch)


def _from_arguments(workspace: Workspace, params: Params) -> None:
    names = [argument for argument in sys.argv[1:] if argument != "--debug"]
    matrix = Ablation.read(workspace.root / MATRIX)
    if names == ["--table"]:
        write_table(workspace, params, matrix)
        return
    if len(names) != 1:
        raise UserError(f"give --table, or one variant of {MATRIX}: {', '.join(matrix.variants)}")
    ablation(workspace, params, matrix, names[0])


if __name__ == "__main__":
    run_stage(_from_arguments)
