"""Task-aligned training of the detector: cells learn the boxes that they already predict well.

Assignment and score targets after TOOD (Feng et al., ICCV 2021, sections 3.2 and 3.3), box loss
after GIoU (Rezatofighi et al., CVPR 2019).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Assignment:
    """What every cell should predict.

    Attributes:
        target: `[B, A]` int64, index of the cell's product; 0 where `quality` is 0.
        quality: `[B, A]` float32, the score to predict; 0 for background.
    """

    target: Tensor
    quality: Tensor


def pairwise_overlap(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU `[...]` of boxes `[..., 4]` that broadcast against each other."""
    sides = (first[..., 2:] - first[..., :2]).clamp(min=0)
    others = (second[..., 2:] - second[..., :2]).clamp(min=0)
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = (sides.prod(-1) + others.prod(-1) - shared).clamp(min=1e-6)
    hull_low = torch.minimum(first[..., :2], second[..., :2])
    hull_high = torch.maximum(first[..., 2:], second[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(-1).clamp(min=1e-6)
    iou = shared / union
    return iou, iou - (hull - union) / hull


@torch.no_grad()
def assign(
    boxes: Tensor,
    scores: Tensor,
    centres: Tensor,
    products: Tensor,
    present: Tensor,
    candidates: int,
    sharpness: float,
) -> Assignment:
    """Give each product the cells that predict it best.

    Alignment is score · IoU^sharpness, for cells whose centre lies in the product's box; each
    product takes its best `candidates` cells; a cell that two products want takes the one that it
    overlaps more.

    Args:
        boxes: predicted boxes `[B, A, 4]`.
        scores: predicted scores `[B, A]` in 0..1.
        centres: cell centres `[A, 2]`.
        products: true boxes `[B, M, 4]`, padded.
        present: bool `[B, M]`, which of them are real.
        candidates: cells per product, at most.
        sharpness: exponent β of the IoU.
    """
    iou, _ = pairwise_overlap(boxes[:, None], products[:, :, None])
    inside = ((centres > products[:, :, None, :2]) & (centres < products[:, :, None, 2:])).all(-1)
    allowed = inside & present[..., None]
    alignment = scores[:, None] * iou.pow(sharpness) * allowed
    # Ties among untrained cells go to those nearest by IoU, so that no product is left without.
    order = alignment + 1e-9 * iou * allowed
    best = order.topk(min(candidates, order.shape[-1]), dim=-1)
    chosen = torch.zeros_like(allowed).scatter(-1, best.indices, best.values > 0)
    overlap = torch.where(chosen, iou, torch.full_like(iou, -1.0))
    strongest, target = overlap.max(dim=1)
    taken = strongest >= 0
    own = F.one_hot(target, products.shape[1]).transpose(1, 2).bool() & taken[:, None]
    alignment = alignment * own
    # A product's best cell should score its IoU, the others in proportion (TOOD, eq. 3).
    peak = alignment.amax(-1, keepdim=True).clamp(min=1e-12)
    reach = (iou * own).amax(-1, keepdim=True)
    quality = (alignment / peak * reach).amax(dim=1)
    return Assignment(target=torch.where(taken, target, 0), quality=quality)


def detection_loss(
    boxes: Tensor,
    logits: Tensor,
    centres: Tensor,
    products: Tensor,
    present: Tensor,
    *,
    candidates: int,
    sharpness: float,
    box_weight: float,
) -> tuple[Tensor, Tensor]:
    """Score loss and weighted box loss of a batch, both scalars; arguments as for `assign`."""
    found = assign(boxes, logits.sigmoid(), centres, products, present, candidates, sharpness)
    mass = found.quality.sum().clamp(min=1.0)
    score_loss = F.binary_cross_entropy_with_logits(logits, found.quality, reduction="sum") / mass
    wanted = products.gather(1, found.target[..., None].expand(-1, -1, 4))
    _, giou = pairwise_overlap(boxes, wanted)
    box_loss = ((1 - giou) * found.quality).sum() / mass
    return score_loss, box_weight * box_loss
