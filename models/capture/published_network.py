"""The published code's forward pass and contrastive loss, for the ablation (docs/capture.md).

Differs from `models.capture.network` by post-norm blocks (BERT's), pooling of first tokens with
ReLU, a projection of every fused token, and the product of the pooled streams as joint embedding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.capture.losses import PretextHeads
from models.capture.network import CaptureConfig, CaptureModel, CaptureOutput, Stream


class PostNormStream(Stream):
    """A stream that is normed after each sum."""

    def normed(self, x: Tensor) -> Tensor:
        """What attention reads of `x` `[B, L, H]`: all of it, as it is."""
        return x

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """States `[B, L, H]` after reading a context `[B, S, H]`."""
        x = self.norm(x + self.attention(x, context, mask))
        normed: Tensor = self.feed_norm(x + self.feed_forward(x))
        return normed


class ReleaseCaptureModel(CaptureModel):
    """The release's network; fused states are `[B, L, projection]`."""

    architecture = "release"
    stream = PostNormStream

    def _add_projections(self) -> None:
        super()._add_projections()
        self.fused_projection = self._projection()

    def _projection(self) -> nn.Module:
        linear = nn.Linear(self.config.hidden_size, self.config.projection)
        return nn.Sequential(linear, nn.ReLU())

    def fuse(
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fused states of both streams, projected; the masked losses read them as well."""
        text, visual = super().fuse(text, visual, text_mask, visual_mask)
        return self.joint_projection(text), self.fused_projection(visual)

    def joint_state(
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor
    ) -> Tensor:
        """The joint embedding `[B, projection]` before it is scaled to length 1."""
        return self.pool(text, text_mask) * self.pool(visual, visual_mask)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """The first state `[B, H]` of a sequence `[B, L, H]`; zero where it is masked."""
        return states[:, 0] * mask[:, :1]


class ReleasePretextHeads(PretextHeads):
    """Pretext tasks of the release, whose fused states have the size of the projection."""

    def _add_region(self, config: CaptureConfig) -> None:
        self.text_states, self.visual_states = (
            nn.Linear(config.projection, config.hidden_size) for _ in range(2)
        )
        super()._add_region(config)

    def word_logits(self, states: Tensor, words: Tensor) -> Tensor:
        """Logits `[..., vocab_size]` of fused title states `[..., projection]`."""
        return super().word_logits(self.text_states(states), words)

    def region_features(self, states: Tensor) -> Tensor:
        """Features `[..., visual_dimension]` that fused states `[..., projection]` tell."""
        return super().region_features(self.visual_states(states))

    def contrastive(self, output: CaptureOutput, targets: Tensor, temperature: float) -> Tensor:
        """The loss between photo and title before fusion, see `contrast_release`."""
        return contrast_release(output.visual_head, output.text_head, temperature)


def contrast_release(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE as the release has it: the other rows of both kinds are negatives.

    Args:
        first, second: unit rows `[B, P]` of one process.
        temperature: divides the cosines.
    """
    both = torch.cat([first, second])
    logits = both @ both.T / temperature
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), partner)
