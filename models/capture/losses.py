"""The pretext tasks of CAPTURE (sec. 3.3) and the soft targets that weak titles allow."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.capture.ddp import gathered, process_mean
from models.capture.network import CaptureConfig, CaptureOutput

IGNORED = -100


class PretextHeads(nn.Module):
    """What predicts masked words and masked regions; needed in training only."""

    def __init__(self, config: CaptureConfig) -> None:
        super().__init__()
        self.word_norm = nn.LayerNorm(config.hidden_size)
        encoder = config.text_encoder
        self.word_space = (
            nn.Identity()
            if encoder is None
            else nn.Linear(config.hidden_size, encoder["hidden_size"])
        )
        self.word_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.match = nn.Linear(config.projection, 2)
        self._add_region(config)

    def _add_region(self, config: CaptureConfig) -> None:
        self.region = nn.Sequential(
            nn.LayerNorm(config.hidden_size),
            nn.Linear(config.hidden_size, config.visual_dimension),
        )

    def word_logits(self, states: Tensor, words: Tensor) -> Tensor:
        """Logits `[..., vocab_size]` of fused title states `[..., hidden]`.

        Args:
            states: of the places to predict.
            words: the model's `word_vectors`, to which the decoder is tied.
        """
        return F.linear(self.word_space(self.word_norm(states)), words, self.word_bias)

    def region_features(self, states: Tensor) -> Tensor:
        """Features `[..., visual_dimension]` that fused region states `[..., hidden]` tell."""
        features: Tensor = self.region(states)
        return features

    def contrastive(self, output: CaptureOutput, targets: Tensor, temperature: float) -> Tensor:
        """The loss between photo and title before fusion, see `contrast`."""
        return contrast(output.visual_head, output.text_head, targets, temperature)

    def masked_language(self, output: CaptureOutput, words: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the masked words.

        Args:
            output: a pass over masked titles.
            words: the model's `word_vectors`.
            labels: int64 `[B, T]`, `IGNORED` where a word was not masked.
        """
        chosen = labels != IGNORED
        logits = self.word_logits(output.text_states[chosen], words)
        total = F.cross_entropy(logits.float(), labels[chosen], reduction="sum")
        return process_mean(total, chosen.sum())

    def masked_region(self, output: CaptureOutput, regions: Tensor, masked: Tensor) -> Tensor:
        """Squared error of the masked regions' features, relative to their mean square.

        Args:
            output: a pass over regions of which some were masked.
            regions: float `[B, V, D]`, the features before masking.
            masked: bool `[B, V]`.
        """
        target = regions[masked].float()
        predicted = self.region_features(output.visual_states[masked])
        total = F.mse_loss(predicted.float(), target, reduction="sum")
        return process_mean(total, target.square().sum())


def mismatched(titles: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Titles for image-text matching: for about half of B photos another photo's title.

    Returns:
        Which title each photo gets, int64 `[B]`, and whether it is its own, int64 `[B]`.
    """
    own = torch.arange(titles)
    swapped = torch.rand(titles, generator=generator) < 0.5
    chosen = torch.where(swapped, own.roll(1), own)
    return chosen, (chosen == own).long()


def alignment_loss(logits: Tensor, own: Tensor) -> Tensor:
    """Cross-entropy of telling a product's own words from those of its bundle's others.

    Only titles that name others teach: in a title of one product every word would be its own.

    Args:
        logits: `[B, T]`, see `CaptureModel.align`.
        own: int64 `[B, T]`, 1 for own words, 0 for others', `IGNORED` elsewhere.
    """
    chosen = (own != IGNORED) & (own == 0).any(dim=1, keepdim=True)
    total = F.binary_cross_entropy_with_logits(
        logits[chosen].float(), own[chosen].float(), reduction="sum"
    )
    return process_mean(total, chosen.sum())


def contrast(first: Tensor, second: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE (paper eq. 3) with soft targets, over the rows of all processes.

    Args:
        first, second: unit rows `[b, P]`, of this process.
        targets: rows that sum to 1, `[b, B]`; the identity is the paper's loss.
        temperature: divides the cosines.
    """
    there = retrieve(first, second, targets, temperature)
    return (there + retrieve(second, first, targets, temperature)) / 2


def retrieve(
    query: Tensor,
    items: Tensor,
    targets: Tensor,
    temperature: float,
    asked: Tensor | None = None,
) -> Tensor:
    """InfoNCE in one direction: each query `[b, P]` finds its items among all processes' `[B, P]`.

    Args:
        query, items: unit rows of this process.
        targets: rows that sum to 1, `[b, B]`.
        temperature: divides the cosines.
        asked: bool `[b]`, which queries count; None: all.
    """
    logits = query @ gathered(items).T / temperature
    losses = F.cross_entropy(logits, targets, reduction="none")
    counted = torch.ones_like(losses) if asked is None else asked.to(losses.dtype)
    return process_mean((losses * counted).sum(), counted.sum())


def title_targets(
    input_ids: Tensor, attention_mask: Tensor, idf: Tensor, sharpness: float
) -> Tensor:
    """Targets `[B, B]` that count photos with nearly the same title as partly the same product.

    A catalogue shows a product many times, so in-batch negatives hold the positive's siblings.
    Their titles say so: the target of a pair is the cosine of their IDF-weighted word sets to the
    power `sharpness`, each row normalised to 1.

    Args:
        input_ids: int64 `[B, T]` of the titles as they are, unmasked.
        attention_mask: int64 `[B, T]`.
        idf: float `[vocab_size]`, 0 for special pieces.
        sharpness: 0 would make all alike; infinity is the identity.
    """
    bags = torch.zeros(len(input_ids), len(idf), device=input_ids.device)
    bags.scatter_(1, input_ids, attention_mask.float())
    bags = F.normalize(bags * idf, dim=1)
    similarity = (bags @ bags.T).clamp(0, 1) ** sharpness
    similarity.fill_diagonal_(1.0)
    return similarity / similarity.sum(1, keepdim=True)
