"""Stage `pretrain`: CAPTURE on (title, regions) pairs of the training photos; no labels, no boxes.

    python -m tasks.pretrain
    torchrun --nproc-per-node 8 -m tasks.pretrain    # the same on several GPUs

Each step makes two passes over its photos. The first sees the photo's own title with words and
regions hidden: masked language, masked region and contrastive loss, as in the paper. The second
sees what a query shows: the product's regions beside a bundle's title. Its heads must find the
first pass's, so every part of the embedding is trained for the comparison it is used in. The mix of
titles says which words are the product's own: the alignment learns to tell them from the others.
"""

import shutil

from tokenizers import Tokenizer

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.stage_command import run_stage
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.data.splits import rows_of
from tasks.pretraining.batches import Pairs
from tasks.pretraining.capture_with_losses import CaptureForPretraining
from tasks.pretraining.checkpoint_name import checkpoint_name
from tasks.pretraining.choose_tokenizer import fast_tokenizer, tokenizer_of
from tasks.pretraining.report import write_report
from tasks.pretraining.training import train
from tasks.shared_training.optimizer_and_checkpoint import Run
from tasks.tokens.token_files import FeatureStore
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.base.errors import UserError


def pretrain(workspace: Workspace, params: Params) -> None:
    """Train CAPTURE; leave `artifacts/capture/`, the metrics and the loss curves.

    Raises:
        UserError: there is no training photo.
    """
    manifest = read_manifest(workspace.manifest)
    titles = rows_of(manifest, "train")["caption"]
    if len(titles) < 2:
        raise UserError(f"{workspace.manifest}: no rows of split train; add photos with titles")
    tokenizer = tokenizer_of(params.pretrain, list(titles))
    store = FeatureStore.open(workspace.features)
    checkpoint = (
        workspace.checkpoints
        / "pretrain"
        / checkpoint_name(workspace, params, manifest["id"].tolist())
    )
    views = FeatureStore.open(workspace.views)
    run = train(Pairs(manifest, store, views, tokenizer, params.pretrain), params, checkpoint)
    if run.leads:
        _leave(workspace, run, tokenizer, params)
        shutil.rmtree(checkpoint.parent, ignore_errors=True)
        console.print(f"  {run.step:,} steps over {len(titles):,} photos → {workspace.capture}")


def _leave(
    workspace: Workspace,
    run: Run[CaptureForPretraining],
    tokenizer: Tokenizer,
    params: Params,
) -> None:
    with atomic_folder(workspace.capture) as folder:
        run.network.capture.save_pretrained(folder)
        fast_tokenizer(tokenizer, params.pretrain).save_pretrained(folder)
    last = {name: values[-1] for name, values in run.history.items()}
    write_json(workspace.pretraining_metrics, {"steps": run.step, "losses": last})
    write_report(workspace.pretraining_report, run.history)


if __name__ == "__main__":
    run_stage(pretrain)
