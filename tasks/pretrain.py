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
from collections.abc import Sequence

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from models.tokenizer import (
    CLS,
    MASK,
    PAD,
    SEP,
    UNKNOWN,
    encoder_tokenizer,
    load_vocabulary,
    train_tokenizer,
)
from tasks.base.command import run_stage
from tasks.base.digests import digest
from tasks.base.params import Params, Pretrain
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tasks.features import BACKBONE
from tasks.pretraining.batches import Pairs
from tasks.pretraining.report import write_report
from tasks.pretraining.training import Run, train
from tasks.tokens.store import FeatureStore
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.base.errors import UserError


def pretrain(workspace: Workspace, params: Params) -> None:
    """Train CAPTURE; leave `artifacts/capture/`, the metrics and the loss curves.

    Raises:
        UserError: there is no training photo.
    """
    manifest = read_manifest(workspace.manifest)
    titles = manifest.loc[manifest["split"] == "train", "caption"]
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


def _leave(workspace: Workspace, run: Run, tokenizer: Tokenizer, params: Params) -> None:
    with atomic_folder(workspace.capture) as folder:
        run.network.capture.save_pretrained(folder)
        _fast(tokenizer, params.pretrain).save_pretrained(folder)
    last = {name: values[-1] for name, values in run.history.items()}
    write_json(workspace.pretraining_metrics, {"steps": run.step, "losses": last})
    write_report(workspace.pretraining_report, run.history)


def tokenizer_of(params: Pretrain, titles: list[str]) -> Tokenizer:
    """The tokenizer of `pretrain.text_encoder` or `.vocabulary`, or one trained on the titles.

    Raises:
        UserError: there is no such encoder or vocabulary, or its pieces are not BERT's.
    """
    if params.text_encoder is not None:
        try:
            return encoder_tokenizer(params.text_encoder)
        except (OSError, ValueError) as error:
            problem = str(error).splitlines()[0]
            raise UserError(
                f"params.yaml: pretrain.text_encoder: {params.text_encoder}: {problem}"
            ) from None
    if params.vocabulary is None:
        return train_tokenizer(titles, params.vocab_size)
    if not params.vocabulary.is_file():
        raise UserError(f"params.yaml: pretrain.vocabulary: {params.vocabulary}: no such file")
    return load_vocabulary(params.vocabulary)


def _fast(tokenizer: Tokenizer, params: Pretrain) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=params.model.title_tokens,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=MASK,
    )


def checkpoint_name(workspace: Workspace, params: Params, rows: Sequence[str]) -> str:
    """Of a training's checkpoint: its inputs, so that no run goes on from another's.

    Args:
        workspace: with the features and the network that made them.
        params: of the training.
        rows: ids of the manifest that it trains on, as variants of the ablation leave some out.
    """
    features = workspace.features
    inputs = workspace.manifest, features / "index.parquet", features / BACKBONE
    settings = params.features, params.views, params.pretrain, params.seed
    return f"{digest(*inputs, *settings, *rows)[:16]}.pt"


if __name__ == "__main__":
    run_stage(pretrain)
