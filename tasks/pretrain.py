"""Stage `pretrain`: CAPTURE on (title, regions) pairs of the training photos; no labels, no boxes.

    python -m tasks.pretrain

Each step makes two passes over its photos. The first sees the photo's own title with words and
regions hidden: masked language, masked region and contrastive loss, as in the paper. The second
sees what a query shows: the product's regions beside a bundle's title. Its heads must find the
first pass's, so every part of the embedding is trained for the comparison it is used in. The mix of
titles says which words are the product's own: the alignment learns to tell them from the others.
"""

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from models.capture import CaptureConfig, CaptureModel, CaptureOutput
from models.objectives import (
    CaptureForPretraining,
    alignment_loss,
    contrast,
    mismatched,
    retrieve,
    title_targets,
)
from models.tokenizer import CLS, MASK, PAD, SEP, UNKNOWN, load_vocabulary, train_tokenizer
from serving.atomic import atomic_file, atomic_folder, write_json
from serving.errors import UserError
from tasks.digests import digest
from tasks.feature_store import FeatureStore
from tasks.manifest import read_manifest
from tasks.pairs import Batch, Pairs
from tasks.params import Params, Pretrain
from tasks.pretraining_report import write_report
from tasks.progress import console, track
from tasks.stage import run_stage
from tasks.workspace import Workspace


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
    checkpoint = _checkpoint_path(workspace, params)
    run = train(Pairs(manifest, store, tokenizer, params.pretrain), params, checkpoint)
    with atomic_folder(workspace.capture) as folder:
        run.network.capture.save_pretrained(folder)
        _fast(tokenizer, params.pretrain).save_pretrained(folder)
    last = {name: values[-1] for name, values in run.history.items()}
    write_json(workspace.pretraining_metrics, {"steps": run.step, "losses": last})
    write_report(workspace.pretraining_report, run.history)
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    console.print(f"  {run.step:,} steps over {len(titles):,} photos → {workspace.capture}")


def train(pairs: Pairs, params: Params, checkpoint: Path) -> "Run":
    """Train a network, from `checkpoint` on where an interrupted run left one."""
    run = Run.start(pairs, params)
    run.resume(checkpoint)
    _train(run, pairs, params, checkpoint)
    return run


def tokenizer_of(params: Pretrain, titles: list[str]) -> Tokenizer:
    """The tokenizer of `pretrain.vocabulary`, or one trained on the titles.

    Raises:
        UserError: there is no such vocabulary.
    """
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


def _checkpoint_path(workspace: Workspace, params: Params) -> Path:
    inputs = (workspace.manifest, workspace.features / "index.parquet", params.features)
    key = digest(*inputs, params.pretrain, params.seed)[:16]
    return workspace.checkpoints / "pretrain" / f"{key}.pt"


@dataclass
class Run:
    """A network in training, and how far it is."""

    network: CaptureForPretraining
    optimizer: torch.optim.Optimizer
    idf: Tensor
    steps: int
    step: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def start(cls, pairs: Pairs, params: Params) -> "Run":
        """A network with random weights and its optimizer."""
        torch.manual_seed(params.seed)
        config = CaptureConfig(
            vocab_size=pairs.tokenizer.get_vocab_size(),
            visual_dimension=pairs.store.dimension,
            **params.pretrain.model.model_dump(),
        )
        network = CaptureForPretraining(config)
        matrices = [weight for weight in network.parameters() if weight.dim() > 1]
        others = [weight for weight in network.parameters() if weight.dim() <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": params.pretrain.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=params.pretrain.learning_rate,
            fused=True,
        )
        return cls(network, optimizer, pairs.idf(), pairs.steps_per_epoch * params.pretrain.epochs)

    def resume(self, checkpoint: Path) -> None:
        """Go on where `checkpoint` stands, if it is there; other runs' checkpoints are deleted."""
        for stale in checkpoint.parent.glob("*.pt"):
            if stale != checkpoint:
                stale.unlink()
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.history = state["step"], state["history"]
            console.print(f"  going on from step {self.step:,} of {self.steps:,}")

    def save(self, checkpoint: Path) -> None:
        """Write all that `resume` needs."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": self.history,
        }
        with atomic_file(checkpoint) as temporary:
            torch.save(state, temporary)


def _train(run: Run, pairs: Pairs, params: Params, checkpoint: Path) -> None:
    settings = params.pretrain
    run.network.train()
    for step in track(range(run.step, run.steps), "CAPTURE, steps"):
        # Dropout draws from torch's generator: seeding each step makes a resumed run exact.
        torch.manual_seed(params.seed * 1_000_003 + step)
        for group in run.optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, run.steps, settings.warmup)
        weights = settings.losses.model_dump()
        losses = pretext_losses(run.network, pairs.batch(params.seed, step), run.idf, settings)
        total = sum((weights[name] * loss for name, loss in losses.items()), torch.zeros(()))
        run.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), settings.gradient_norm)
        run.optimizer.step()
        run.step = step + 1
        for name, loss in losses.items():
            run.history.setdefault(name, []).append(float(loss.detach()))
        if run.step % settings.checkpoint_steps == 0 and run.step < run.steps:
            run.save(checkpoint)


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up, then half a cosine to zero."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def pretext_losses(
    network: CaptureForPretraining, batch: Batch, idf: Tensor, params: Pretrain
) -> dict[str, Tensor]:
    """Every loss whose weight in `params.losses` is above 0, as scalars by name."""
    # The projection of the regions is the widest layer and the same for both passes.
    regions = network.capture.regions(batch.visual)
    shown = [
        torch.where(masked[..., None], network.capture.masked_region, regions)
        for masked in batch.masked_regions
    ]
    targets = title_targets(batch.clean.ids, batch.clean.mask, idf, params.title_sharpness)
    losses, first = _first_pass(network, batch, shown[0], targets, params)
    wanted = params.losses.model_dump()
    if any(wanted[name] for name in SECOND_PASS):
        losses |= _second_pass(network.capture, batch, shown[1], first, targets, params)
    return {name: loss for name, loss in losses.items() if wanted[name]}


SECOND_PASS = ("joint", "visual", "title", "align", "read")


def _first_pass(
    network: CaptureForPretraining,
    batch: Batch,
    shown: Tensor,
    targets: Tensor,
    params: Pretrain,
) -> tuple[dict[str, Tensor], CaptureOutput]:
    """The paper's: the photo's own title, words and regions hidden."""
    capture, heads = network.capture, network.heads
    text = capture.encode_text(batch.masked.ids, batch.masked.mask)
    visual = capture.encode_regions(shown, batch.geometry, batch.visual_mask)
    first = capture.heads(text, visual, batch.masked.mask, batch.visual_mask)
    losses = {
        "mlm": heads.masked_language(first, capture.words, batch.labels),
        "mrm": heads.masked_region(first, batch.visual, batch.masked_regions[0]),
        "contrastive": contrast(first.visual_head, first.text_head, targets, params.temperature),
    }
    if params.losses.matching:
        losses["matching"] = _matching(network, text, visual, batch)
    return losses, first


def _matching(network: CaptureForPretraining, text: Tensor, visual: Tensor, batch: Batch) -> Tensor:
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    titles, own = mismatched(len(text), generator)
    masks = batch.masked.mask[titles], batch.visual_mask
    fused = network.capture.fuse(text[titles], visual, *masks)
    joint = network.capture.joint_state(*fused, *masks)
    return F.cross_entropy(network.heads.match(joint), own)


def _second_pass(
    capture: CaptureModel,
    batch: Batch,
    shown: Tensor,
    first: CaptureOutput,
    targets: Tensor,
    params: Pretrain,
) -> dict[str, Tensor]:
    """What a query shows: the product's regions beside a bundle's title."""
    text = capture.encode_text(batch.mixed.ids, batch.mixed.mask)
    visual = capture.encode_regions(shown, batch.geometry, batch.visual_mask)
    text_mask = batch.mixed.mask * batch.keep_title
    visual_mask = batch.visual_mask * batch.keep_photo
    fused = capture.fuse(text, visual, text_mask, visual_mask)
    joint = capture.joint_vector(*fused, text_mask, visual_mask)
    seen = capture.visual_vector(visual, batch.visual_mask)
    alignment = capture.align(text, batch.mixed.mask, seen)
    read = capture.read_vector(text, alignment.sigmoid())
    named = (batch.own == 1).any(dim=1)

    def match(query: Tensor, item: Tensor) -> Tensor:
        return contrast(query, item, targets, params.temperature)

    return {
        "joint": match(joint, first.joint),
        "visual": match(seen, first.visual_head),
        "title": match(capture.text_vector(text, batch.mixed.mask), first.text_head),
        "align": alignment_loss(alignment, batch.own),
        "read": retrieve(read[named], first.text_head, targets[named], params.temperature),
    }


if __name__ == "__main__":
    run_stage(pretrain)
