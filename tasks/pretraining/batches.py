"""Training batches of CAPTURE: (title, regions) pairs, masked, mixed and dropped by seed and step.

A batch is a function of (seed, step) alone, so a resumed run sees what an uninterrupted one sees.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from models.capture.losses import IGNORED
from models.capture.tokenizer import CLS, MASK, PAD, SEP, SPECIAL
from tasks.base.params import Pretrain
from tasks.data.splits import rows_of
from tasks.tokens.token_files import FeatureStore

Regions = tuple[NDArray[np.float16], NDArray[np.float32]]
"""Tokens `[V, D]` of a photo and their geometry `[V, 5]`."""


@dataclass(frozen=True)
class Titles:
    """Padded titles. `ids`, `mask`: int64 `[B, T]`."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Batch:
    """B training pairs.

    Attributes:
        clean: the photos' own titles, of all processes' parts.
        place: which rows of `clean` are of this part.
        masked: the same with words hidden; `labels` `[B, T]` holds them, `IGNORED` elsewhere.
        mixed: for single products a title as a bundle has it, which names others as well and now
            and then not this one; else the photo's own.
        own: int64 `[B, T]`, 1 for the words of `mixed` that are of the photo's own title, 0 for
            those of others, `IGNORED` elsewhere.
        visual: float32 `[B, V, D]` regions, `geometry` `[B, V, 5]`, `visual_mask` `[B, V]`.
        seen, seen_geometry: the same of the second pass, which shows single products as a bundle
            photo does.
        masked_regions: bool `[B, V]`, a hidden set for each of the two passes.
        keep_title, keep_photo: int64 `[B, 1]`, 0 where the second pass loses the modality.
    """

    clean: Titles
    place: slice
    masked: Titles
    labels: Tensor
    mixed: Titles
    own: Tensor
    visual: Tensor
    geometry: Tensor
    visual_mask: Tensor
    seen: Tensor
    seen_geometry: Tensor
    masked_regions: tuple[Tensor, Tensor]
    keep_title: Tensor
    keep_photo: Tensor

    def part(self, number: int, parts: int, device: torch.device) -> "Batch":
        """An equal share of the pairs, on a process's device; B has to be a multiple of `parts`."""
        size = len(self.visual) // parts
        place = slice(number * size, (number + 1) * size)

        def mine(value: Any) -> Any:
            match value:
                case Tensor():
                    return value[place].to(device)
                case Titles():
                    return Titles(mine(value.ids), mine(value.mask))
                case _:
                    return tuple(mine(item) for item in value)

        shares = {field.name: getattr(self, field.name) for field in fields(self)}
        clean = Titles(self.clean.ids.to(device), self.clean.mask.to(device))
        shares = {key: mine(value) for key, value in shares.items() if key not in _WHOLE}
        return Batch(clean=clean, place=place, **shares)


_WHOLE = ("clean", "place")


class Pairs:
    """The training photos: their proposals' tokens and their tokenised titles."""

    def __init__(
        self,
        manifest: pd.DataFrame,
        store: FeatureStore,
        views: FeatureStore,
        tokenizer: Tokenizer,
        params: Pretrain,
    ) -> None:
        train = rows_of(manifest, "train")
        rows, views_of = store.rows_by_id(), views.rows_by_id()
        self.params, self.store, self.tokenizer = params, store, tokenizer
        self.views, self.views_of = views, [views_of.get(photo, []) for photo in train["id"]]
        self.single = (train["kind"] != "multi").to_numpy()
        self.rows = [
            rows[photo][:1] if single else rows[photo]
            for photo, single in zip(train["id"], self.single, strict=True)
        ]
        # The pieces of a title, without [CLS] and [SEP].
        encoded = tokenizer.encode_batch(list(train["caption"]), add_special_tokens=False)
        self.titles = [np.asarray(title.ids, np.int64) for title in encoded]
        pieces = tokenizer.get_vocab()
        self.special = {name: pieces[name] for name in SPECIAL}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches of one pass over the photos; at least one."""
        return max(1, len(self) // self.params.batch)

    def idf(self) -> Tensor:
        """Inverse document frequency float32 `[vocab_size]` of the pieces, 0 for special ones."""
        counts = np.zeros(self.tokenizer.get_vocab_size())
        for title in self.titles:
            counts[np.unique(title)] += 1
        weights = np.log((1 + len(self)) / (1 + counts))
        weights[list(self.special.values())] = 0
        return torch.from_numpy(weights.astype(np.float32))

    def batch(self, seed: int, step: int) -> Batch:
        """The batch of a step; each epoch visits the photos in an order of its own."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([seed, 0, epoch]).permutation(len(self))
        chosen = order[place * self.params.batch : (place + 1) * self.params.batch]
        rng = np.random.default_rng([seed, 1, step])
        masked = [self._hide_words(self.titles[photo], rng) for photo in chosen]
        mixed = [self._mixed(photo, chosen, rng) for photo in chosen]
        shown = [self._tokens(self.rows[photo]) for photo in chosen]
        visual, geometry, visual_mask = self._padded_regions(shown)
        viewed = [self._viewed(photo, own, rng) for photo, own in zip(chosen, shown, strict=True)]
        seen, seen_geometry, _ = self._padded_regions(viewed)
        dropped = rng.random(len(chosen))
        share = self.params.drop_modality / 2
        return Batch(
            clean=self._padded([self.titles[photo] for photo in chosen]),
            place=slice(0, len(chosen)),
            masked=self._padded([ids for ids, _ in masked]),
            labels=self._labels([labels for _, labels in masked]),
            mixed=self._padded([ids for ids, _ in mixed]),
            own=self._labels([own for _, own in mixed]),
            visual=visual,
            geometry=geometry,
            visual_mask=visual_mask,
            seen=seen,
            seen_geometry=seen_geometry,
            masked_regions=(
                self._hide_regions(visual_mask, rng),
                self._hide_regions(visual_mask, rng),
            ),
            keep_title=torch.from_numpy((dropped >= share).astype(np.int64))[:, None],
            keep_photo=torch.from_numpy((dropped < 1 - share).astype(np.int64))[:, None],
        )

    @property
    def _room(self) -> int:
        return self.params.model.title_tokens - 2

    def _hide_words(
        self, title: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # BERT's recipe: of the chosen words 80 % become [MASK], 10 % a random piece, 10 % stay.
        title = title[: self._room]
        chosen = rng.random(len(title)) < self.params.mask_words
        fate = rng.random(len(title))
        random_pieces = rng.integers(len(SPECIAL), self.tokenizer.get_vocab_size(), len(title))
        hidden = np.where(chosen & (fate < 0.8), self.special[MASK], title)
        hidden = np.where(chosen & (fate >= 0.9), random_pieces, hidden)
        return hidden, np.where(chosen, title, IGNORED)

    def _mixed(
        self, photo: int, chosen: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        title = self.titles[photo]
        if not self.single[photo] or rng.random() >= self.params.mix_titles:
            return title, np.ones_like(title)
        others = rng.choice(chosen[chosen != photo], size=int(rng.integers(1, 4)))
        # A bundle's title names only some of its products: one time in five not this one.
        named = [*others] if rng.random() < 0.2 else [photo, *others]
        room = max(2, self._room // len(named))
        named = list(rng.permutation(named))
        parts = [_span(self.titles[item], room, rng) for item in named]
        own = [np.full(len(part), item == photo) for part, item in zip(parts, named, strict=True)]
        return np.concatenate(parts), np.concatenate(own).astype(np.int64)

    def _padded(self, titles: list[NDArray[np.int64]]) -> Titles:
        cut = [title[: self._room] for title in titles]
        length = 2 + max(len(title) for title in cut)
        ids = np.full((len(cut), length), self.special[PAD])
        mask = np.zeros((len(cut), length), np.int64)
        for row, title in enumerate(cut):
            ids[row, : len(title) + 2] = [self.special[CLS], *title, self.special[SEP]]
            # A photo without a title has no text stream at all.
            mask[row, : len(title) + 2] = len(title) > 0
        return Titles(torch.from_numpy(ids), torch.from_numpy(mask))

    def _labels(self, labels: list[NDArray[np.int64]]) -> Tensor:
        cut = [values[: self._room] for values in labels]
        padded = np.full((len(cut), 2 + max(len(row) for row in cut)), IGNORED)
        for row, values in enumerate(cut):
            padded[row, 1 : len(values) + 1] = values
        return torch.from_numpy(padded)

    def _viewed(self, photo: int, own: Regions, rng: np.random.Generator) -> Regions:
        views = self.views_of[photo]
        if not views or rng.random() >= self.params.views:
            return own
        view = int(rng.choice(views))
        tokens = self.views.tokens([view])[0]
        return tokens, np.broadcast_to(self.views.geometry[view], (len(tokens), 5))

    def _padded_regions(self, shown: list[Regions]) -> tuple[Tensor, Tensor, Tensor]:
        length = max(len(tokens) for tokens, _ in shown)
        visual = np.zeros((len(shown), length, self.store.dimension), np.float32)
        geometry = np.zeros((len(shown), length, 5), np.float32)
        mask = np.zeros((len(shown), length), np.int64)
        for row, (tokens, places) in enumerate(shown):
            visual[row, : len(tokens)], geometry[row, : len(tokens)] = tokens, places
            mask[row, : len(tokens)] = 1
        return torch.from_numpy(visual), torch.from_numpy(geometry), torch.from_numpy(mask)

    def _tokens(self, proposals: list[int]) -> Regions:
        # One product shows its grid, a bundle the pooled token of each box.
        tokens = self.store.tokens(proposals[: self.params.model.regions])
        flat = tokens[0] if len(tokens) == 1 else tokens[:, 0]
        places = self.store.geometry[proposals[: len(tokens)]]
        return flat, np.broadcast_to(places, (len(flat), 5))

    def _hide_regions(self, mask: Tensor, rng: np.random.Generator) -> Tensor:
        hidden = rng.random(mask.shape) < self.params.mask_regions
        return torch.from_numpy(hidden) & mask.bool()


def _span(title: NDArray[np.int64], room: int, rng: np.random.Generator) -> NDArray[np.int64]:
    start = int(rng.integers(0, max(1, len(title) - room + 1)))
    return title[start : start + room]
