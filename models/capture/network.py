"""CAPTURE (ICCV 2021): text and visual transformers, cross-attention, a joint co-transformer.

Choices that differ from the paper, with the reason:

- pre-norm blocks: they train without warm-up tricks at small batch sizes;
- pooling by the masked mean of a stream: the fused [CLS] alone retrieved products an order of
  magnitude worse (docs/experiments.md);
- a stream that is absent has an all-zero mask and adds exactly nothing to the other.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel


class CaptureConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers ships no types
    """Sizes of the four transformers; the defaults are the paper's release.

    `architecture` names the class that the weights belong to, see `CaptureModel.architecture`.
    `text_encoder` is the configuration of a Hugging Face encoder below the text layers, None for
    word embeddings.
    """

    model_type = "unbundle-capture"

    def __init__(
        self,
        vocab_size: int = 21128,
        title_tokens: int = 36,
        regions: int = 36,
        visual_dimension: int = 2048,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        attention_heads: int = 12,
        text_layers: int = 4,
        visual_layers: int = 4,
        cross_layers: int = 4,
        co_layers: int = 6,
        projection: int = 768,
        dropout: float = 0.1,
        architecture: str = "unbundle",
        text_encoder: dict[str, Any] | None = None,
        **kwargs: object,
    ) -> None:
        self.vocab_size = vocab_size
        self.title_tokens = title_tokens
        self.regions = regions
        self.visual_dimension = visual_dimension
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.attention_heads = attention_heads
        self.text_layers = text_layers
        self.visual_layers = visual_layers
        self.cross_layers = cross_layers
        self.co_layers = co_layers
        self.projection = projection
        self.dropout = dropout
        self.architecture = architecture
        self.text_encoder = text_encoder
        super().__init__(**kwargs)


@dataclass
class CaptureOutput:
    """What one pass over (title, regions) gives.

    Attributes:
        visual_head: unit rows `[B, projection]` from the visual stream before fusion.
        text_head: unit rows `[B, projection]` from the text stream before fusion.
        read: unit rows `[B, projection]`: the text stream before fusion, each word weighted by
            how likely it names what the regions show; comparable with `text_head`.
        alignment: `[B, T]`, 0 to 1: those weights; 0 for padding.
        joint: unit rows `[B, projection]` from the co-transformer.
        text_states: fused title states `[B, T, hidden]`.
        visual_states: fused region states `[B, V, hidden]`.
    """

    visual_head: Tensor
    text_head: Tensor
    read: Tensor
    alignment: Tensor
    joint: Tensor
    text_states: Tensor
    visual_states: Tensor


class Attention(nn.Module):
    """Multi-head attention of `x` over a context; a masked context adds nothing."""

    def __init__(self, config: CaptureConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.attention_heads
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.output = nn.Linear(size, size)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Attend `[B, L, H]` over `[B, S, H]`; `mask` `[B, S]` is 1 where the context counts."""
        query = self.query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.key_value(context).chunk(2, dim=2)
        )
        seen = mask[:, None, None, :].to(query.dtype)
        # Written out: on CPU it is faster than scaled_dot_product_attention at these lengths, and
        # the product with the mask makes a wholly masked context zero, not uniform.
        scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5)
        weights = (scores + (1 - seen) * -1e4).softmax(dim=-1) * seen
        attended: Tensor = self.output((weights @ value).transpose(1, 2).flatten(2))
        return attended


class FeedForward(nn.Sequential):
    """Two linear layers, GELU, dropout."""

    def __init__(self, config: CaptureConfig) -> None:
        super().__init__(
            nn.Linear(config.hidden_size, config.intermediate_size),
            nn.GELU(),
            nn.Linear(config.intermediate_size, config.hidden_size),
            nn.Dropout(config.dropout),
        )


class Stream(nn.Module):
    """How one sequence changes in a block: attention over a context, then a feed-forward layer."""

    def __init__(self, config: CaptureConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.attention = Attention(config)
        self.feed_norm = nn.LayerNorm(config.hidden_size)
        self.feed_forward = FeedForward(config)

    def normed(self, x: Tensor) -> Tensor:
        """What attention reads of `x` `[B, L, H]`."""
        read: Tensor = self.norm(x)
        return read

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """States `[B, L, H]` after reading a context that is `normed` `[B, S, H]`."""
        x = x + self.attention(self.normed(x), context, mask)
        fed: Tensor = self.feed_forward(self.feed_norm(x))
        return x + fed


class SelfBlock(nn.Module):
    """A transformer block of one sequence."""

    def __init__(self, config: CaptureConfig, stream: type[Stream]) -> None:
        super().__init__()
        self.stream = stream(config)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """States `[B, L, H]` in and out."""
        states: Tensor = self.stream(x, self.stream.normed(x), mask)
        return states


class CrossBlock(nn.Module):
    """Each stream queries the other (the paper's cross-transformer, sec. 3.2)."""

    def __init__(self, config: CaptureConfig, stream: type[Stream]) -> None:
        super().__init__()
        self.text = stream(config)
        self.visual = stream(config)

    def forward(
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both streams, updated from each other's state before this block."""
        return (
            self.text(text, self.visual.normed(visual), visual_mask),
            self.visual(visual, self.text.normed(text), text_mask),
        )


class CaptureModel(PreTrainedModel):  # type: ignore[misc]  # transformers ships no types
    """The four transformers and their three pooled heads.

    Raises:
        ValueError: the configuration is of another architecture.
    """

    architecture = "unbundle"
    """What `config.architecture` must say, so that no class reads another's saved weights."""
    stream = Stream
    """What the blocks are made of."""

    config_class = CaptureConfig
    base_model_prefix = "capture"
    gradient_checkpointing = False

    def __init__(self, config: CaptureConfig) -> None:
        super().__init__(config)
        if config.architecture != self.architecture:
            raise ValueError(
                f"architecture: expected {self.architecture}, found {config.architecture}"
            )
        size = config.hidden_size
        if config.text_encoder is None:
            self.words = nn.Embedding(config.vocab_size, size)
            self.positions = nn.Embedding(config.title_tokens, size)
        else:
            facts = AutoConfig.for_model(**config.text_encoder)
            # Eager attention gives numbers, not NaN, for a title that is all padding.
            self.encoder = AutoModel.from_config(facts, attn_implementation="eager")
            self.encoded = nn.Linear(facts.hidden_size, size)
        self.text_norm = nn.LayerNorm(size)
        self.regions = nn.Sequential(
            nn.LayerNorm(config.visual_dimension), nn.Linear(config.visual_dimension, size)
        )
        self.geometry = nn.Linear(5, size)
        self.visual_norm = nn.LayerNorm(size)
        self.masked_region = nn.Parameter(torch.zeros(size))
        self.dropout = nn.Dropout(config.dropout)
        self.text_blocks = self._blocks(SelfBlock, config.text_layers)
        self.visual_blocks = self._blocks(SelfBlock, config.visual_layers)
        self.cross_blocks = self._blocks(CrossBlock, config.cross_layers)
        self.co_blocks = self._blocks(SelfBlock, config.co_layers)
        self._add_projections()
        self.alignment_word = nn.Linear(config.hidden_size, config.projection)
        self.alignment_bias = nn.Parameter(torch.zeros(()))
        self.post_init()

    def _blocks(self, kind: type[SelfBlock | CrossBlock], count: int) -> nn.ModuleList:
        return nn.ModuleList(kind(self.config, self.stream) for _ in range(count))

    def _add_projections(self) -> None:
        self.text_projection = self._projection()
        self.visual_projection = self._projection()
        self.joint_projection = self._projection()

    def _projection(self) -> nn.Module:
        size = self.config.hidden_size
        return nn.Sequential(nn.LayerNorm(size), nn.Linear(size, self.config.projection))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def word_vectors(self) -> Tensor:
        """Embeddings of the vocabulary `[vocab_size, size]`, which predict masked words as well."""
        if self.config.text_encoder is None:
            return self.words.weight
        vectors: Tensor = self.encoder.get_input_embeddings().weight
        return vectors

    def _run(self, block: nn.Module, *states: Tensor) -> Any:
        # Activations are computed again in the backward pass, which a wide model needs for memory.
        if self.gradient_checkpointing and self.training:
            return checkpoint(block, *states, use_reentrant=False)
        return block(*states)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Text states `[B, T, H]` before fusion, of token ids `[B, T]`."""
        if self.config.text_encoder is None:
            places = torch.arange(input_ids.shape[1], device=input_ids.device)
            embedded = self.words(input_ids) + self.positions(places)
        else:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
            embedded = self.encoded(states.last_hidden_state)
        x: Tensor = self.dropout(self.text_norm(embedded))
        for block in self.text_blocks:
            x = self._run(block, x, attention_mask)
        return x

    def encode_visual(self, visual: Tensor, geometry: Tensor, visual_mask: Tensor) -> Tensor:
        """Visual states `[B, V, H]` before fusion, of region features `[B, V, D]`."""
        return self.encode_regions(self.regions(visual), geometry, visual_mask)

    def encode_regions(self, regions: Tensor, geometry: Tensor, visual_mask: Tensor) -> Tensor:
        """Visual states `[B, V, H]` before fusion, of projected regions `[B, V, H]`."""
        x: Tensor = self.dropout(self.visual_norm(regions + self.geometry(geometry)))
        for block in self.visual_blocks:
            x = self._run(block, x, visual_mask)
        return x

    def fuse(
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fused states of both streams: cross-transformer, then co-transformer."""
        for block in self.cross_blocks:
            text, visual = self._run(block, text, visual, text_mask, visual_mask)
        joined, mask = torch.cat([text, visual], 1), torch.cat([text_mask, visual_mask], 1)
        for block in self.co_blocks:
            joined = self._run(block, joined, mask)
        return joined[:, : text.shape[1]], joined[:, text.shape[1] :]

    def text_vector(self, states: Tensor, mask: Tensor) -> Tensor:
        """The text head `[B, projection]` of unfused states, unit rows."""
        return _unit(self.text_projection(self.pool(states, mask)))

    def visual_vector(self, states: Tensor, mask: Tensor) -> Tensor:
        """The visual head `[B, projection]` of unfused states, unit rows."""
        return _unit(self.visual_projection(self.pool(states, mask)))

    def align(self, states: Tensor, mask: Tensor, visual: Tensor) -> Tensor:
        """How likely each word names what a visual vector shows, as logits `[B, T]`.

        Args:
            states: unfused title states `[B, T, H]`.
            mask: int64 `[B, T]`; padding gets a logit far below zero.
            visual: unit rows `[B, projection]` of the visual head.
        """
        words = self.alignment_word(states)
        logits: Tensor = (words @ visual.unsqueeze(2)).squeeze(2) + self.alignment_bias
        return logits.masked_fill(mask == 0, -1e4)

    def read_vector(self, states: Tensor, alignment: Tensor) -> Tensor:
        """The text head `[B, projection]` of the words that `alignment` `[B, T]` weighs."""
        weights = alignment.unsqueeze(2)
        mean = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-4)
        return _unit(self.text_projection(mean))

    def joint_vector(
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor
    ) -> Tensor:
        """The joint embedding `[B, projection]` of fused states, unit rows."""
        return _unit(self.joint_state(text, visual, text_mask, visual_mask))

    def joint_state(
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor
    ) -> Tensor:
        """The joint embedding `[B, projection]` before it is scaled to length 1."""
        joint: Tensor = self.joint_projection(
            self.pool(text, text_mask) + self.pool(visual, visual_mask)
        )
        return joint

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """One state `[B, H]` of a sequence `[B, L, H]`; zero where all of it is masked."""
        return masked_mean(states, mask)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        visual: Tensor,
        geometry: Tensor,
        visual_mask: Tensor,
    ) -> CaptureOutput:
        """Heads of (title, regions) pairs.

        Args:
            input_ids: int64 `[B, T]`, T at most `title_tokens`.
            attention_mask: int64 `[B, T]`; all zeros where there is no title.
            visual: float `[B, V, visual_dimension]` region features.
            geometry: float `[B, V, 5]`, see `unbundle.vision.imaging.geometry`.
            visual_mask: int64 `[B, V]`; all zeros where there is no photo.
        """
        text = self.encode_text(input_ids, attention_mask)
        return self.heads(
            text,
            self.encode_visual(visual, geometry, visual_mask),
            attention_mask,
            visual_mask,
        )

    def heads(
        self, text: Tensor, visual: Tensor, text_mask: Tensor, visual_mask: Tensor
    ) -> CaptureOutput:
        """Fuse unfused states `[B, T, H]` and `[B, V, H]`, and pool what both stages know."""
        fused_text, fused_visual = self.fuse(text, visual, text_mask, visual_mask)
        visual_head = self.visual_vector(visual, visual_mask)
        alignment = self.align(text, text_mask, visual_head).sigmoid()
        return CaptureOutput(
            visual_head=visual_head,
            text_head=self.text_vector(text, text_mask),
            read=self.read_vector(text, alignment),
            alignment=alignment,
            joint=self.joint_vector(fused_text, fused_visual, text_mask, visual_mask),
            text_states=fused_text,
            visual_states=fused_visual,
        )


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean `[B, H]` of the states `[B, L, H]` whose mask `[B, L]` is 1; zero where none is."""
    weights = mask.unsqueeze(2).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.float(), dim=-1)
