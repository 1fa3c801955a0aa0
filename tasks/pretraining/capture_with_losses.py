"""The losses of one batch: the paper's pass, and a second one over what a query shows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.capture.ddp import process_mean
from models.capture.losses import (
    PretextHeads,
    alignment_loss,
    contrast,
    mismatched,
    retrieve,
    title_targets,
)
from models.capture.network import CaptureConfig, CaptureModel, CaptureOutput
from tasks.base.params import Pretrain
from tasks.pretraining.batches import Batch

SECOND_PASS = ("joint", "visual", "title", "align", "read")
"""Losses that need the second pass."""

SOFT, HARD = 8.0, 1e6
"""Sharpness of the titles' likeness: with soft targets, and without, where only photos of equal
titles count as the same product."""


class CaptureForPretraining(nn.Module):
    """CAPTURE with its pretext tasks.

    Args:
        config: of the network.
        params: which losses count, and how.
        idf: float `[vocab_size]`, see `Pairs.idf`.
    """

    network_class = CaptureModel
    heads_class = PretextHeads

    idf: Tensor

    def __init__(self, config: CaptureConfig, params: Pretrain, idf: Tensor) -> None:
        super().__init__()
        self.capture = self.network_class(config)
        self.heads = self.heads_class(config)
        self.params = params
        self.register_buffer("idf", idf, persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Every loss whose weight in `params.losses` is above 0, as scalars by name.

        Over several processes a scalar is this one's share: their average is the whole batch's.
        """
        ids, mask = batch.clean.ids, batch.clean.mask
        sharpness = SOFT if self.params.soft_targets else HARD
        targets = title_targets(ids, mask, self.idf, sharpness)[batch.place]
        shown = self._hidden(batch.visual, batch.masked_regions[0])
        losses, first = self._first_pass(batch, shown, targets)
        wanted = self.params.losses.model_dump()
        if any(wanted[name] for name in SECOND_PASS):
            shown = self._hidden(batch.seen, batch.masked_regions[1])
            losses |= self._second_pass(batch, shown, first, targets)
        return {name: loss for name, loss in losses.items() if wanted[name]}

    def _hidden(self, visual: Tensor, masked: Tensor) -> Tensor:
        regions = self.capture.regions(visual)
        return torch.where(masked[..., None], self.capture.masked_region.to(regions.dtype), regions)

    def _first_pass(
        self, batch: Batch, shown: Tensor, targets: Tensor
    ) -> tuple[dict[str, Tensor], CaptureOutput]:
        """The paper's: the photo's own title, words and regions hidden."""
        capture, heads = self.capture, self.heads
        text = capture.encode_text(batch.masked.ids, batch.masked.mask)
        visual = capture.encode_regions(shown, batch.geometry, batch.visual_mask)
        first = capture.heads(text, visual, batch.masked.mask, batch.visual_mask)
        losses = {
            "mlm": heads.masked_language(first, capture.word_vectors, batch.labels),
            "mrm": heads.masked_region(first, batch.visual, batch.masked_regions[0]),
            "contrastive": heads.contrastive(first, targets, self.params.temperature),
        }
        if self.params.losses.matching:
            losses["matching"] = self._matching(text, visual, batch)
        return losses, first

    def _matching(self, text: Tensor, visual: Tensor, batch: Batch) -> Tensor:
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        titles, own = (part.to(text.device) for part in mismatched(len(text), generator))
        masks = batch.masked.mask[titles], batch.visual_mask
        fused = self.capture.fuse(text[titles], visual, *masks)
        logits = self.heads.match(self.capture.joint_state(*fused, *masks))
        return process_mean(F.cross_entropy(logits, own, reduction="sum"), float(len(own)))

    def _second_pass(
        self, batch: Batch, shown: Tensor, first: CaptureOutput, targets: Tensor
    ) -> dict[str, Tensor]:
        """What a query shows: the product's regions beside a bundle's title."""
        capture, tau = self.capture, self.params.temperature
        text = capture.encode_text(batch.mixed.ids, batch.mixed.mask)
        visual = capture.encode_regions(shown, batch.seen_geometry, batch.visual_mask)
        text_mask = batch.mixed.mask * batch.keep_title
        visual_mask = batch.visual_mask * batch.keep_photo
        fused = capture.fuse(text, visual, text_mask, visual_mask)
        joint = capture.joint_vector(*fused, text_mask, visual_mask)
        title = capture.text_vector(text, batch.mixed.mask)
        seen = capture.visual_vector(visual, batch.visual_mask)
        alignment = capture.align(text, batch.mixed.mask, seen)
        read = capture.read_vector(text, alignment.sigmoid())
        named = (batch.own == 1).any(dim=1)
        return {
            "joint": contrast(joint, first.joint, targets, tau),
            "visual": contrast(seen, first.visual_head, targets, tau),
            "title": contrast(title, first.text_head, targets, tau),
            "align": alignment_loss(alignment, batch.own),
            "read": retrieve(read, first.text_head, targets, tau, named),
        }
